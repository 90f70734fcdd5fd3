"""The API's responses, built from the engine's events. Knows no HTTP."""
