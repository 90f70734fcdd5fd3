"""The API's own description at ``/openapi.json``. Bodies are read by hand, so their schemas are added by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from synapse_engine import _engine
from synapse_engine.server.schemas.chat import ChatBody
from synapse_engine.server.schemas.completions import CompletionBody
from synapse_engine.server.schemas.library import AdapterBody, SpecialistBody
from synapse_engine.server.schemas.others import DetokenizeBody, EmbeddingBody, TokenizeBody
from synapse_engine.server.schemas.routing import FeedbackBody, RouteBody

if TYPE_CHECKING:
    from fastapi import FastAPI

    from synapse_engine.server.schemas.fields import Body

BODIES: tuple[type[Body], ...] = (
    ChatBody, CompletionBody, EmbeddingBody, TokenizeBody, DetokenizeBody, SpecialistBody, AdapterBody,
    RouteBody, FeedbackBody,
)  # fmt: skip
REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def takes(body: type[Body]) -> dict[str, Any]:
    """``openapi_extra`` of an endpoint with this body."""
    schema = {"$ref": REFERENCE.format(model=body.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole description."""
    document = get_openapi(title="Synapse Engine", version=_engine.__version__, routes=app.routes)
    _, bodies = models_json_schema([(body, "validation") for body in BODIES], ref_template=REFERENCE)
    document["components"] = {
        "schemas": {**bodies["$defs"], "Error": ERROR},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {
                "description": "Error",
                "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}},
            }
    return document
