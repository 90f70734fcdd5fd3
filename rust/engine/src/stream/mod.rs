//! Tokens to text, as they come: whole UTF-8 characters, stop strings.
