"""Makes llama_cpp_smollm2.json: what llama.cpp says after 20 prompts, and what the same weights say in float32.

    python tests/oracle/gguf_to_hf.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER
    python tests/goldens/make_llama_cpp.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER

llama.cpp continues each prompt greedily, token by token. `transformers` then reads the same tokens: what it
says is the truth that both engines approximate, since both round activations to 8 bits. The file records the versions.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import torch
import transformers

COUNT = 64
# Truth: the likeliest tokens kept per place.
TOP = 4
CHAT = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
QUESTIONS = [
    "What is the capital of France?",
    "Explain in one paragraph how a refrigerator works.",
    "Write a haiku about the sea.",
    "List five uses for a paper clip.",
    "Give me a recipe for pancakes.",
    "Who wrote 'Pride and Prejudice', and when?",
    "Translate 'good morning, my friend' into Spanish.",
    "What is 17 + 25?",
    "Summarize the water cycle for a child.",
    "Write a Python function that reverses a string.",
]
TEXTS = [
    "The history of the bicycle begins in the early nineteenth century, when",
    "Once upon a time, in a village at the edge of a dark forest,",
    "def fibonacci(n):\n    ",
    "The three laws of thermodynamics can be stated as follows: first,",
    "Dear Sir or Madam,\n\nI am writing to",
    "1, 2, 3, 5, 8, 13, 21,",
    "Der Himmel über Berlin ist heute",
    "<html>\n<head>\n<title>",
    "“It was the best of times,” she said — “it was the worst of times…”",
    "Photosynthesis is the process by which plants",
]


def prompts() -> list[str]:
    """Half chat turns, half plain text."""
    turns = [f"{CHAT}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n" for question in QUESTIONS]
    return turns + TEXTS


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """In float64."""
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def continue_greedily(model: llama_cpp.Llama, prompt: list[int]) -> tuple[list[int], list[float]]:
    """`COUNT` tokens, past any end token, and the log-probability of each."""
    model.reset()
    model.eval(prompt)
    tokens: list[int] = []
    found: list[float] = []
    while len(tokens) < COUNT:
        values = log_softmax(model.scores[model.n_tokens - 1])
        tokens.append(int(values.argmax()))
        found.append(float(values[tokens[-1]]))
        model.eval(tokens[-1:])
    return tokens, found


def truth(model: Any, prompt: list[int], tokens: list[int]) -> tuple[list[float], list[list[list[float]]]]:
    """The float32 log-probability of every token but the first; the likeliest at each place of `tokens`."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0, :-1].double()
    values = logits.log_softmax(-1)
    targets = torch.tensor((prompt + tokens)[1:])
    chosen = values.gather(1, targets[:, None])[:, 0]
    best = values[len(prompt) - 1 :].topk(TOP)
    places = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    top = [[[token, round(value, 5)] for token, value in zip(*place, strict=True)] for place in places]
    return [round(value, 5) for value in chosen.tolist()], top


def read_together(model: llama_cpp.Llama, tokens: list[int]) -> list[float]:
    """llama.cpp's log-probability of every token but the first when it reads all of them in one batch."""
    model.reset()
    model.eval(tokens)
    rows = model.scores[: len(tokens) - 1]
    return [round(float(log_softmax(row)[target]), 5) for row, target in zip(rows, tokens[1:], strict=True)]


def main() -> None:
    """Runs both on every prompt."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    peer = llama_cpp.Llama(str(source), n_ctx=1024, n_batch=512, n_threads=1, logits_all=True, verbose=False)
    oracle = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    cases = []
    for text in prompts():
        prompt = peer.tokenize(text.encode(), add_bos=False, special=True)
        tokens, decoded = continue_greedily(peer, prompt)
        exact, top = truth(oracle, prompt, tokens)
        cases.append(
            {
                "text": text,
                "prompt": prompt,
                "tokens": tokens,
                "decoded": [round(value, 5) for value in decoded],
                "together": read_together(peer, prompt + tokens),
                "truth": exact,
                "truth_top": top,
            }
        )
    versions = {module.__name__: module.__version__ for module in (llama_cpp, transformers, torch, np)}
    head = {"model": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest(), "versions": versions}
    write(head, cases)


def write(head: dict[str, Any], cases: list[dict[str, Any]]) -> None:
    """One case per line, beside this script."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    path = Path(__file__).with_name("llama_cpp_smollm2.json")
    path.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
