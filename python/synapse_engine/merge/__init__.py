"""Merges adapters and fine-tuned models into a base, to a folder that the engine serves. Needs no PyTorch.

TIES (Yadav et al. 2023), weighted sums and DARE, on PEFT LoRA adapters and full safetensors models.
"""

from .evaluate import Evaluation, WorseError
from .merging import Merged, MergeRequest, merge, settings

__all__ = ["Evaluation", "MergeRequest", "Merged", "WorseError", "merge", "settings"]
