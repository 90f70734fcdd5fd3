"""Breeds small adapters for a trained model: a population of LoRA shapes, trained, compared, crossed and changed."""
