"""Teaches a language model a speciality as a LoRA adapter, with PyTorch and peft. The engine never imports it."""
