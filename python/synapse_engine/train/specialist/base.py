"""Opens the model that a specialist is taught on, and puts a fresh adapter on it. Knows no data."""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from synapse_engine.train.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from synapse_engine.train.specialist.options import SpecialistOptions

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
_NO_NF4 = (
    "train on a GPU with --device cuda, or here without --quantize; --precision bf16 halves the base's memory, too"
)
_FLOATS = "name a folder with config.json and *.safetensors in floating-point numbers, as Hugging Face has them"


def check_base(folder: Path) -> None:
    """Raises ``ConfigError`` for everything that is not a folder of safetensors in floating-point numbers."""
    only_gguf = folder.is_dir() and not _has_weights(folder) and any(folder.glob("*.gguf"))
    if only_gguf or folder.suffix.lower() == ".gguf":
        raise ConfigError(f"{folder.name} is GGUF, whose quantized weights pass no gradient on", _FLOATS)
    if not (folder / "config.json").is_file() or not _has_weights(folder):
        raise ConfigError(f"{folder}: no config.json with *.safetensors lies there", _FLOATS)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{folder / 'config.json'}: not JSON: {error}", "get the model again") from error
    if config.get("quantization_config"):
        raise ConfigError(f"{folder.name} is quantized: config.json has a quantization_config", _FLOATS)


def usual_precision(device: torch.device) -> str:
    """``bf16`` where the device multiplies in it, else ``f32``."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"
    flags = torch.backends.cpu.get_cpu_capability()
    fast = flags.startswith("AVX512") and torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 (no public name)
    return "bf16" if device.type == "cpu" and fast else "f32"


def open_base(folder: Path, options: SpecialistOptions, device: torch.device) -> Any:
    """The model, frozen."""
    transformers: Any = importlib.import_module("transformers")  # only half of it is typed
    transformers.utils.logging.disable_progress_bar()
    # Other implementations of attention take no mask of one's own.
    settings: dict[str, Any] = {"dtype": TYPES[options.precision], "attn_implementation": "sdpa"}
    if options.quantize == "nf4":
        settings |= _nf4(options, device)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, **settings)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        message = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{folder.name}: transformers cannot open it: {message}", _FLOATS) from error
    if getattr(model.config, "final_logit_softcapping", None) or getattr(model.config, "logit_scale", None):
        raise ConfigError(f"{folder.name} changes its logits after the head, which training leaves out", _FLOATS)
    return model if options.quantize == "nf4" else model.to(device)


def attach(model: Any, options: SpecialistOptions) -> Any:
    """Freezes the model and puts an adapter on its target layers that changes nothing yet; the same for each seed."""
    peft: Any = importlib.import_module("peft")
    body = model.base_model
    known = {name.rsplit(".", 1)[-1] for name, layer in body.named_modules() if isinstance(layer, nn.Linear)}
    for target in options.targets:
        if target not in known:
            raise ConfigError(f"the model has no linear layers {target!r}", f"--targets {','.join(sorted(known))}")
    if options.quantize == "nf4":
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    torch.manual_seed(options.seed)
    layers = list(options.targets)
    config = peft.LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=layers, task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about what peft calls in it
        return peft.get_peft_model(model, config)


def _nf4(options: SpecialistOptions, device: torch.device) -> dict[str, Any]:
    """Four bits for the frozen weights (NormalFloat, with quantized scales: Dettmers et al. 2023, QLoRA)."""
    if device.type == "cpu":  # its 4-bit products there have no registered gradient, and PyTorch warns of wrong ones
        raise ConfigError("--quantize nf4 on the CPU: bitsandbytes gives no gradient there", _NO_NF4)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("--quantize nf4 needs bitsandbytes", "pip install bitsandbytes")
    transformers: Any = importlib.import_module("transformers")
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=TYPES[options.precision],
    )
    return {"quantization_config": config, "device_map": {"": device}}


def _has_weights(folder: Path) -> bool:
    return any(not file.name.endswith("adapter_model.safetensors") for file in folder.glob("*.safetensors"))
