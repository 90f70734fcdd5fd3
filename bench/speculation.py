"""What drafting is worth: the same answers with and without it, in turn.

``python -m bench.speculation`` prints both speeds and the median ratio, for text that repeats itself and for text that
does not.
``--rows`` measures instead what a pass over several rows costs, which ``rust/engine/src/speculate/worth.rs`` goes by.
"""

from __future__ import annotations

import argparse
from statistics import geometric_mean, median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from bench import inputs
from synapse_engine import _engine
from synapse_engine.cli import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    Prompts = dict[str, tuple[str, list[str] | None]]

CODE = '''def read_width(box):
    """The width of the box in metres."""
    if box.width < 0:
        raise ValueError("the width is below zero")
    return box.width


def read_height(box):
    """The height of the box in metres."""
    if box.height < 0:
        raise ValueError("the height is below zero")
    return box.height


def read_depth(box):
    """The depth of the box in metres."""
    if box.depth < 0:
        raise ValueError("the depth is below zero")
    return box.depth
'''
EDITED = CODE[: CODE.index("height")].replace("box", "crate")
LETTER = (
    "Dear Ms Okafor, thank you for your letter of 3 March about the bridge over the Calder at Mytholm. Our engineers"
    " went there on Tuesday. They found that two of the oak beams on the north side are soft, and that the railing is"
    " loose along eleven metres. We will close the path from 14 April to 2 May and put in new beams. Walkers can use"
    " the ford at Eastwood, which is dry at this time of year, or take the number 590 bus. Yours sincerely,"
    " T. Brannigan, Footpaths."
)
RECORDS = "\n".join(
    f'{{"id": {700 + 13 * n}, "name": "{name}", "city": "{city}", "active": {"true" if n % 2 else "false"}}}'
    for n, (name, city) in enumerate(
        [("Ana Lima", "Recife"), ("Jo Park", "Busan"), ("Eli Cohen", "Haifa"), ("Mia Holm", "Bergen")]
    )
)
# Prompt and stop strings. A small model obeys little, but goes on with what it sees begun.
REPEATING: Prompts = {
    "copy a letter": (
        f"The letter:\n{LETTER}\n\nThe same letter, word for word:\nDear Ms Okafor, thank you for",
        ["Footpaths"],
    ),
    "edit code": (f"```python\n{CODE}```\n\nNow with `crate` instead of `box`:\n\n```python\n{EDITED}", ["```"]),
    "extract records": (f"Input:\n{RECORDS}\n\nThe same records, one per line, nothing left out:\n", ["\n\n"]),
}
FREE: Prompts = {
    "story": ("The lighthouse keeper had not spoken to anyone for forty days when", None),
    "explanation": ("Why do some metals rust while others do not? The reason is that", None),
    "recipe": ("My grandmother's soup for cold evenings begins with", None),
    "code": ("import sqlite3\n\n# A small program that keeps a diary in a database.\n", None),
}
MODES: tuple[Literal["ngram"], Literal["off"]] = ("ngram", "off")


def answer(engine: _engine.Engine, prompt: str, request: dict[str, Any]) -> tuple[float, dict[str, Any], str]:
    """Tokens per second after the first, the usage, the text."""
    queue = _engine.EventQueue()
    engine.submit({"tokens": engine.tokenize(prompt), "ignore_eos": True, **request}, queue)
    text = ""
    while True:
        for event in queue.receive():
            if event.error:
                raise event.error
            text += event.text
            if event.usage:
                usage = event.usage
                seconds = usage["total_seconds"] - usage["first_token_seconds"]
                return (usage["completion_tokens"] - 1) / seconds, usage, text


def compare(kind: str, prompts: Prompts, temperature: float, options: argparse.Namespace) -> None:
    """One line for each prompt, and their mean."""
    engines = {
        speculation: _engine.Engine(options.path, threads=options.threads, context_length=2048, speculation=speculation)
        for speculation in MODES
    }
    ratios = []
    for name, (prompt, stop) in prompts.items():
        request = {"max_new_tokens": options.tokens, "temperature": temperature, "seed": 6900, "stop": stop}
        speeds: dict[str, list[float]] = {mode: [] for mode in MODES}
        for turn in range(options.rounds):
            texts = {}
            for mode in MODES[:: 1 if turn % 2 else -1]:
                speed, usage, texts[mode] = answer(engines[mode], prompt, request)
                speeds[mode].append(speed)
                if mode != "off":
                    drafted = f"{usage['accepted_tokens']} of {usage['drafted_tokens']} drafted tokens came true"
            if len(set(texts.values())) > 1:
                raise AssertionError(f"{name}: the answer depends on drafts: {texts}")
        fast, plain = (median(speeds[mode]) for mode in MODES)
        # Round by round: what else the machine does changes within seconds.
        ratios.append(median(speeds[MODES[0]][turn] / speeds[MODES[1]][turn] for turn in range(options.rounds)))
        print(f"{kind:10} {name:16} {fast:7.1f} / {plain:7.1f} tok/s = {ratios[-1]:5.2f}   {drafted}")
    print(f"{kind:10} {'geometric mean':16} {geometric_mean(ratios):28.2f}")
    for engine in engines.values():
        engine.close()


def rows(options: argparse.Namespace) -> None:
    """Medians of passes that score a text of so many tokens: logits for every row, as a draft needs them."""
    engine = _engine.Engine(
        options.path, threads=options.threads, context_length=2048, prefix_cache=False, max_sequences=1
    )
    counts = [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(options.rounds):
        for count in counts:
            seconds[count].append(passes(engine, range(1000, 1000 + count)))
    alone = median(seconds[1])
    for count in counts:
        print(f"{count:3} rows {1000 * median(seconds[count]):8.2f} ms = {median(seconds[count]) / alone:5.2f}")


def passes(engine: _engine.Engine, tokens: Sequence[int], count: int = 16) -> float:
    """Seconds of a pass in a row of them: after a pause the first would be slower."""
    queue = _engine.EventQueue()
    ends: list[float] = []
    for _ in range(count):
        engine.submit({"tokens": list(tokens), "task": "score"}, queue)
    while len(ends) < count:
        ends += [perf_counter() for event in queue.receive() if event.usage]
    return (ends[-1] - ends[0]) / (count - 1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speculation", description=__doc__)
    parser.add_argument("--model", default=inputs.SMOLLM2, help=f"one of {', '.join(inputs.NAMES)}, or a file")
    parser.add_argument("--kind", choices=["repeating", "free"], help="default: both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    parser.add_argument("--rows", action="store_true", help="measure what a pass over several rows costs")
    options = parser.parse_args()
    options.path = str(inputs.model_file(options.model)) if options.model in inputs.NAMES else options.model
    if options.rows:
        rows(options)
        return
    if options.kind != "free":
        compare("repeating", REPEATING, 0.0, options)
    if options.kind != "repeating":
        compare("free", FREE, 1.0, options)


if __name__ == "__main__":
    main()
