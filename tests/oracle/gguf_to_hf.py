"""Unpacks a GGUF file of the Llama family into a Hugging Face folder in float32, for `transformers` to run.

python tests/oracle/gguf_to_hf.py MODEL.gguf FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf_layout
import numpy as np
from gguf import GGUFReader, TokenType, quants
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


def unpack(source: Path, folder: Path) -> None:
    """Writes config.json, generation_config.json, tokenizer.json, chat_template.jinja and model.safetensors."""
    reader = GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    folder.mkdir(parents=True, exist_ok=True)
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    write_json(folder / "config.json", configuration(fields, tied))
    end = fields["tokenizer.ggml.eos_token_id"]
    write_json(folder / "generation_config.json", {"eos_token_id": end, "do_sample": False})
    tokenizer(fields).save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(fields["tokenizer.chat_template"], encoding="utf-8")
    save_file(tensors(reader, fields), folder / "model.safetensors", metadata={"format": "pt"})


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes `value` for people to read."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def configuration(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    """config.json of the model that `fields` describe."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": fields["llama.rope.freq_base"],
        "vocab_size": fields["llama.vocab_size"],
        "tie_word_embeddings": tied,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
    }


def tokenizer(fields: dict[str, Any]) -> Tokenizer:
    """The byte-level BPE of the SmolLM models: every digit alone, then words as in GPT-2."""
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.CONTROL]
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return made


def tensors(reader: GGUFReader, fields: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every tensor in float32 under its Hugging Face name, rows of q and k in Hugging Face's order."""
    heads = fields["llama.attention.head_count"], fields["llama.attention.head_count_kv"]
    found = {}
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        if rotated := gguf_layout.rotated_heads("llama", tensor.name, *heads):
            values = gguf_layout.deinterleave(values, rotated)
        found[gguf_layout.hugging_face_name(tensor.name)] = np.ascontiguousarray(values, dtype=np.float32)
    return found


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
