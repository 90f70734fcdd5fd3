//! Text to tokens and back, chat templates. Knows no model.
