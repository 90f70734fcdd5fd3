"""The model that comes with the package: there without a network, sound, and better at English than at noise."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from synapse_engine import Engine, models
from synapse_engine.cli.app import synapse
from synapse_engine.store import PullRequest, Silent, Store, catalogue, pull

pytest_plugins = ["store_fixtures"]

FOLDER = Path(models.__file__).parent / "symbio-demo"
SENTENCE = "And he said unto them, Go ye into the city, and you will find a man with a pitcher of water."


@pytest.fixture
def installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def no_network(*_: object) -> None:
        raise AssertionError("the bundled model asked for the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    pull(Store(), PullRequest("symbio-demo"), Silent())
    assert home.exists()
    return "symbio-demo"


def test_it_is_whole_and_small(installed: str) -> None:
    entry = catalogue().get("symbio-demo")
    assert entry is not None
    found = Store().find(installed)
    assert entry.size == found.manifest.size < 12_000_000
    assert CliRunner().invoke(synapse, ["verify", installed]).exit_code == 0
    config = json.loads((FOLDER / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("symbio", 256, 8)


def test_the_card_says_what_it_is_made_of(installed: str) -> None:
    card = (FOLDER / "README.md").read_text().lower()
    for part in ("licence", "perplexity", "transformer", "debian package"):
        assert part in card, part
    assert installed in card


def test_it_prefers_english_to_its_words_in_disorder(installed: str) -> None:
    words = SENTENCE.split()
    random.Random(0).shuffle(words)
    with Engine(installed) as engine:
        in_order, disordered = (
            sum(token.logprob or 0.0 for token in engine.score(text)) for text in (SENTENCE, " ".join(words))
        )
    assert in_order > disordered + 20


def test_it_continues_a_text_past_its_window(installed: str) -> None:
    with Engine(installed, past_window="restart") as engine:
        answer = engine.generate("In the beginning", max_tokens=400, temperature=0.8, seed=1)
    assert answer.usage.completion_tokens == 400
    assert sum(character.isascii() and (character.isalpha() or character == " ") for character in answer.text) > 800
