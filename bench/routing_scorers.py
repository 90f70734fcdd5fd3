"""A coordinator, and baselines: the commonest specialist, keywords, centroids of a base model's hidden states.

A scorer gives each request a probability for every specialist. One of your own is a function without arguments that
returns a ``Scorer``: ``python -m bench.routing --scorer MODULE:FUNCTION``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synapse_engine import _engine
from synapse_engine.specialists import built_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.routing_measures import Floats
    from synapse_engine import Engine
    from synapse_engine.specialists import Specialist
    from synapse_engine.train.routing.requests import Request

NAMES = tuple(specialist.name for specialist in built_in())
# Requests are cut to what a base model reads in one go; the request itself stands at the end.
MAX_LETTERS = 2000
_BATCH = 64
_TEMPERATURES = np.geomspace(0.003, 1, 40)
# What somebody would write down in an hour without a model, most telling words of each.
KEYWORDS = {
    "general": "hello hi hey thanks thank recommend advice why who tip tips weekend feel hallo salut hola ciao warum"
    " pourquoi",
    "math": "solve calculate equation derivative integral probability percent % sum prove triangle area matrix"
    " prime fraction average mean convert plus minus times sqrt berechne calcule calcula calcola prozent"
    " gleichung",
    "code": "python java javascript c++ rust function code script bug error git docker regex class loop compile"
    " bash api react html css program exception traceback import def print funktion programm fonction"
    " función funzione função",
    "sql": "sql query select table join database postgres mysql sqlite index schema column rows where group"
    " insert update delete abfrage tabelle requête consulta tabla tabela",
    "writing": "write poem story essay email letter speech summarize summarise rewrite rephrase draft slogan title"
    " blog schreib gedicht écris rédige escribe scrivi escreve shorten tone haiku limerick",
    "language": "translate translation mean means meaning pronounce synonym word german french spanish italian say"
    " conjugate übersetze traduis traduce traduci traduz idiom japanese english",
    "grammar": "grammar correct sentence comma spelling tense plural apostrophe mistake mistakes proofread whom its"
    " it's korrigiere corrige correggi punctuation preposition article richtig",
}


class Scorer(Protocol):
    """Gives probabilities."""

    name: str

    def score(self, requests: Sequence[Request]) -> Floats:
        """(requests, specialists), in the order of ``built_in()``; rows add up to at most 1."""


class Coordinator:
    """A folder that the engine loads; it reads the context, too."""

    name = "coordinator"

    def __init__(self, folder: Path, specialists: Sequence[Specialist]) -> None:
        self._native = _engine.Coordinator(str(folder))
        self._native.set_specialists(
            [{"name": s.name, "description": s.description, "examples": s.examples} for s in specialists]
        )

    def score(self, requests: Sequence[Request]) -> Floats:
        """(requests, specialists): the softmax of all logits, without that of none."""
        found = [self._native.score(turns_of(request)) for request in requests]
        logits = np.array([[*one["logits"].values(), one["none_logit"]] for one in found])
        return softmax(logits)[:, :-1]


class Majority:
    """Always the same: the specialist with the most training requests, with its share of them."""

    name = "majority"

    def __init__(self, training: Sequence[Request]) -> None:
        counts = np.array([sum(request.label == name for request in training) for name in NAMES], dtype=float)
        self._shares = counts / counts.sum()

    def score(self, requests: Sequence[Request]) -> Floats:
        """The same row for each."""
        return np.tile(self._shares, (len(requests), 1))


class Keywords:
    """Counts words of a list in the request; one word more makes a specialist e times as likely."""

    name = "keywords"

    def __init__(self) -> None:
        self._lists = [frozenset(KEYWORDS[name].split()) for name in NAMES]

    def score(self, requests: Sequence[Request]) -> Floats:
        """Hits of each list; without any, all are equally likely."""
        words = [re.findall(r"[^\W\d_]+(?:\+\+|'s)?|%", request.text.lower()) for request in requests]
        hits = [[sum(word in keywords for word in text) for keywords in self._lists] for text in words]
        return softmax(np.array(hits, dtype=float))


class Centroids:
    """The nearest centroid, by cosine, of a base model's mean-pooled hidden states, minus their overall mean.

    ``training`` gives the centroids and, on a part that is kept apart, the temperature.
    """

    def __init__(self, name: str, engine: Engine, training: Sequence[Request]) -> None:
        self.name = name
        self._engine = engine
        known = [request for request in training if request.label in NAMES]
        labels = np.array([NAMES.index(request.label) for request in known])
        if missing := [name for at, name in enumerate(NAMES) if at not in labels]:
            raise ValueError(f"no training request of {', '.join(missing)}")
        vectors = self._embed(known)
        self._mean = vectors.mean(0)
        vectors = unit(vectors - self._mean)
        apart = np.arange(len(known)) % 5 == 4 if len(known) > 20 * len(NAMES) else np.ones(len(known), dtype=bool)
        fit = ~apart if not apart.all() else apart
        self._centroids = unit(np.stack([vectors[fit & (labels == at)].mean(0) for at in range(len(NAMES))]))
        cosines = vectors[apart] @ self._centroids.T
        losses = [-np.log(softmax(cosines / t)[np.arange(apart.sum()), labels[apart]]).mean() for t in _TEMPERATURES]
        self._temperature = float(_TEMPERATURES[int(np.argmin(losses))])

    def score(self, requests: Sequence[Request]) -> Floats:
        """Softmax of the cosines over the temperature."""
        return softmax(unit(self._embed(requests) - self._mean) @ self._centroids.T / self._temperature)

    def _embed(self, requests: Sequence[Request]) -> Floats:
        texts = [request.text[-MAX_LETTERS:] for request in requests]
        batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
        return np.array([vector for batch in batches for vector in self._engine.embed(batch)])


def turns_of(request: Request) -> list[tuple[str, str]]:
    """The turns with their roles."""
    return [(("user", "assistant")[at % 2], text) for at, text in enumerate(request.turns)]


def softmax(scores: Floats) -> Floats:
    """Over the last axis."""
    raised: Floats = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Floats = raised / raised.sum(-1, keepdims=True)
    return shares


def unit(vectors: Floats) -> Floats:
    """Of length 1 each; a zero vector stays."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled
