"""Makes a model folder of a training run: weights, configuration, tokenizer and model card."""
