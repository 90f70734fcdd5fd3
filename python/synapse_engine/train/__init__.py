"""Trains small organelle models with PyTorch. Nothing here is imported by the engine, the server or the store."""
