"""Routing: which specialist answers a request, why, and how feedback moves that. Runs no model that generates."""

from synapse_engine.routing.decision import NONE, Decision, Reason, decide
from synapse_engine.routing.errors import RoutingError
from synapse_engine.routing.kept import KeptBias
from synapse_engine.routing.opening import open_feedback, open_router
from synapse_engine.routing.parts import Bias, Coordinator, Turns, turns_of
from synapse_engine.routing.router import Reaction, Router

__all__ = [
    "NONE",
    "Bias",
    "Coordinator",
    "Decision",
    "KeptBias",
    "Reaction",
    "Reason",
    "Router",
    "RoutingError",
    "Turns",
    "decide",
    "open_feedback",
    "open_router",
    "turns_of",
]
