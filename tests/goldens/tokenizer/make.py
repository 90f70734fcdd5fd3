"""Makes the tokenizer goldens: small vocabularies, and what llama.cpp, tokenizers and sentencepiece say about them.

    python tests/goldens/tokenizer/make.py [SmolLM2.gguf]

Needs gguf, llama-cpp-python, sentencepiece, tokenizers. The versions used are in `expected.json`.
"""

# ruff: noqa: RUF001 (the texts are in many scripts)
from __future__ import annotations

import importlib.metadata
import io
import json
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog. It's 12:45, isn't it? I'LL see; they'Ve gone.",
    "  two spaces before,   three between, trailing   ",
    "tabs\tand\nnewlines\n\n\nand \r\n windows\r\n\r\n  indented",
    "def f(x: int) -> list[int]:\n    return [x ** 2 for _ in range(10) if x != 3]  # squares\n",
    '{"key": [1, 22, 333, 4444, 55555], "pi": 3.14159, "hex": "0xDEADBEEF"}',
    "1234567890 12 345 6789 ٣٤٥ ½ Ⅷ x²",
    "Größe, naïve café, São Paulo, Łódź; e\u0301 decomposed, ﬁ ligature",
    "日本語のテキストと中文字符，한국어도 있어요。",
    "Привет, мир! Γειά σου Κόσμε. שלום עולם. مرحبا بالعالم. नमस्ते दुनिया",
    "emoji 🦀🚀 family 👨‍👩‍👧‍👦 flag 🇩🇪 skin 👍🏽 done",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "look: <|endoftext|><|im_end|> <tool> and <|not_special|> <s>x</s> <unk>",
    "https://example.org/a-b_c?d=e%20f&g=#h  \\LaTeX{} $x_1^2$ `code` ~~~ === ---",
    "nul \u0000 and bell \u0007, nbsp\u00a0thin\u2009ideographic\u3000zero\u200bwidth \u2581 block",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb          cccc",
    "CamelCaseWords snake_case_words SCREAMING_CASE kebab-case, don't Don'T DON'T 'quoted' ''",
]

CORPUS = [
    *TEXTS,
    "A local inference engine runs small language models that work together. Models read tokens and write tokens.",
    "the of and to in is that it was for on are with as his they be at one have this from or had by not but some what",
    "we can out other were all your when up use word how said an each she which do their time if will way about many",
    "for i in range(10):\n    print(i)\n\nclass Node:\n    def __init__(self, value):\n        self.value = 1\n",
]

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<tool>"]
GPT2_PRE = ["smollm", "gpt-2", "llama-bpe", "qwen2", "tekken", "default"]
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level_vocabulary() -> dict[str, Any]:
    """A byte-level BPE as GGUF describes it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*CONTROL, *USER_DEFINED],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    kinds = {**dict.fromkeys(CONTROL, 3), **dict.fromkeys(USER_DEFINED, 4)}
    return {
        "model": "gpt2",
        "tokens": tokens,
        "token_types": [kinds.get(token, 1) for token in tokens],
        "merges": [" ".join(merge) for merge in model["merges"]],
        "bos": 1,
        "eos": 2,
    }


def sentence_piece_vocabulary() -> tuple[dict[str, Any], sentencepiece.SentencePieceProcessor]:
    """A SentencePiece BPE as GGUF describes it, and the original."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in CORPUS for line in text.split("\n") if line and "\0" not in line),
        model_writer=model,
        model_type="bpe",
        vocab_size=620,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.98,
        user_defined_symbols=USER_DEFINED,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.get_piece_size())

    def kind(token: int) -> int:
        if processor.is_unknown(token):
            return 2
        if processor.is_control(token):
            return 3
        if processor.id_to_piece(token) in USER_DEFINED:
            return 4
        return 6 if processor.is_byte(token) else 1

    vocabulary = {
        "model": "llama",
        "tokens": [processor.id_to_piece(token) for token in ids],
        "scores": [processor.get_score(token) for token in ids],
        "token_types": [kind(token) for token in ids],
        "merges": [],
        "bos": 1,
        "eos": 2,
        "unknown": 0,
    }
    return vocabulary, processor


def llama_cpp_model(vocabulary: dict[str, Any], pre: str, add_space_prefix: bool | None = None) -> llama_cpp.Llama:
    """The vocabulary as llama.cpp reads it from a GGUF file without weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for name in ("context_length", "embedding_length", "block_count", "feed_forward_length", "head_count"):
            getattr(writer, f"add_{name}")(8)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(len(vocabulary["tokens"]))
        writer.add_tokenizer_model(vocabulary["model"])
        if pre:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(vocabulary["tokens"])
        writer.add_token_types(vocabulary["token_types"])
        if vocabulary["merges"]:
            writer.add_token_merges(vocabulary["merges"])
        if "scores" in vocabulary:
            writer.add_token_scores(vocabulary["scores"])
            writer.add_unk_token_id(vocabulary["unknown"])
        writer.add_bos_token_id(vocabulary["bos"])
        writer.add_eos_token_id(vocabulary["eos"])
        if add_space_prefix is not None:
            writer.add_add_space_prefix(add_space_prefix)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return llama_cpp.Llama(str(path), vocab_only=True, verbose=False)


def llama_cpp_says(model: llama_cpp.Llama, texts: list[str]) -> dict[str, Any]:
    """Tokens of every text, with and without special tokens parsed, and with the model's own tokens around."""

    def encode(text: str, add: bool, special: bool) -> list[int]:
        return model.tokenize(text.encode(), add_bos=add, special=special)

    return {
        "parse_special": [encode(text, False, True) for text in texts],
        "plain": [encode(text, False, False) for text in texts],
        "add_special": encode("Hello", True, True),
    }


def hugging_face_byte_level(vocabulary: dict[str, Any], split: str = LLAMA3_SPLIT) -> Tokenizer:
    """Qwen2's and Llama 3's construction."""
    vocab = {token: index for index, token in enumerate(vocabulary["tokens"])}
    merges = [tuple(merge.split(" ")) for merge in vocabulary["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in USER_DEFINED])
    return tokenizer


def hugging_face_sentence_piece(vocabulary: dict[str, Any]) -> Tokenizer:
    """Llama 2's and Mistral's construction: merges from scores, byte fallback."""
    tokens, scores = vocabulary["tokens"], vocabulary["scores"]
    vocab = {token: index for index, token in enumerate(tokens)}
    merges = []
    for token, score, kind in zip(tokens, scores, vocabulary["token_types"], strict=True):
        if kind == 1:
            cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
            known = [cut for cut in cuts if cut[0] in vocab and cut[1] in vocab]
            merges += [(-score, vocab[left], vocab[right], left, right) for left, right in known]
    pairs = [(left, right) for *_, left, right in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(vocab, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in USER_DEFINED])
    return tokenizer


def hugging_face_says(tokenizer: Tokenizer) -> dict[str, Any]:
    """As `llama_cpp_says`, and the text that the tokens decode to."""
    tokenizer.encode_special_tokens = True
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    tokenizer.encode_special_tokens = False
    parsed = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    return {
        "parse_special": parsed,
        "plain": plain,
        "add_special": tokenizer.encode("Hello").ids,
        "decoded": [tokenizer.decode(ids, skip_special_tokens=True) for ids in parsed],
    }


def write(name: str, value: object) -> None:
    """Writes a compact JSON file beside this script."""
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main() -> None:
    """Writes every golden file."""
    bpe = byte_level_vocabulary()
    pieces, processor = sentence_piece_vocabulary()
    composed = [unicodedata.normalize("NFC", text) for text in TEXTS]
    expected: dict[str, Any] = {
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("gguf", "llama_cpp_python", "sentencepiece", "tokenizers")
        }
    }
    for pre in GPT2_PRE:
        # llama.cpp leaves out the NFC step of Qwen2's own tokenizer.
        texts = composed if pre == "qwen2" else TEXTS
        expected[f"gpt2/{pre}"] = llama_cpp_says(llama_cpp_model(bpe, pre), texts)
    # llama.cpp's pattern for tekken forgets combining marks, so Mistral's own pattern decides there.
    tekken, original = expected["gpt2/tekken"], hugging_face_byte_level(bpe, TEKKEN_SPLIT)
    original.normalizer = None
    said = hugging_face_says(original)
    for index, text in enumerate(TEXTS):
        if any(unicodedata.category(character).startswith("M") for character in text):
            for key in ("parse_special", "plain"):
                tekken[key][index] = said[key][index]
    expected["llama"] = llama_cpp_says(llama_cpp_model(pieces, "default"), TEXTS)
    expected["llama/no-space-prefix"] = llama_cpp_says(llama_cpp_model(pieces, "default", False), TEXTS)
    expected["llama/sentencepiece"] = [processor.encode(text) for text in TEXTS]
    for name, tokenizer, config in (
        ("byte-level", hugging_face_byte_level(bpe), {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}),
        (
            "byte-fallback",
            hugging_face_sentence_piece(pieces),
            {"add_bos_token": True, "bos_token": {"content": "<s>"}, "eos_token": "</s>"},
        ),
    ):
        expected[f"hugging-face/{name}"] = hugging_face_says(tokenizer)
        write(f"{name}/tokenizer.json", json.loads(tokenizer.to_str()))
        write(f"{name}/tokenizer_config.json", config)
    write("texts.json", TEXTS)
    write("bpe.json", bpe)
    write("sentence_piece.json", pieces)
    write("expected.json", expected)
    if len(sys.argv) > 1:
        write("smollm2.json", llama_cpp_says(llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False), TEXTS))


if __name__ == "__main__":
    main()
