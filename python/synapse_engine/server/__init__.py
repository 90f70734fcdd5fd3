"""The OpenAI-compatible HTTP API. Knows HTTP and the API's JSON; the engine knows models, tokens and sampling."""

from synapse_engine.server.app import create_app
from synapse_engine.server.options import ServerError, ServerOptions
from synapse_engine.server.run import ApiServer, serve

__all__ = ["ApiServer", "ServerError", "ServerOptions", "create_app", "serve"]
