"""The coordinator: a small model that finds the specialist for a request. Trained here, run by the engine."""
