"""``POST /v1/embeddings``."""

import base64
import math
import sys
from array import array
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from synapse_engine.server.disconnect import while_connected
from synapse_engine.server.errors import bad_request
from synapse_engine.server.jobs import Job
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.others import EmbeddingBody
from synapse_engine.server.state import client_of, state_of

router = APIRouter()


@router.post("/v1/embeddings", openapi_extra=takes(EmbeddingBody), summary="Turn texts into vectors")
async def embeddings(request: Request) -> Response:
    """OpenAI's embeddings: the mean of the final hidden states, scaled to length 1."""
    state = state_of(request)
    body = await state.body(request, EmbeddingBody)
    model = state.registry.find(body.model)
    prompts = await state.prompt_tokens(model, body.input, "input")
    client = client_of(request, body.user or "")
    job = state.job(model, [{"task": "embed", "tokens": tokens, "client": client} for tokens in prompts], "input")
    vectors = await while_connected(request.receive, collect(job, len(prompts)))
    check_dimensions(body, len(vectors[0]))
    total = sum(map(len, prompts))
    usage = {"prompt_tokens": total, "total_tokens": total}
    return await state.work(lambda: listed(vectors, body, {"model": model.id, "usage": usage}))


async def collect(job: Job, count: int) -> list[list[float]]:
    """The vectors in the order of the inputs."""
    vectors: list[list[float]] = [[] for _ in range(count)]
    with job:
        while not job.over:
            for position, event in await job.receive():
                if event.embedding is not None:
                    vectors[position] = event.embedding
    return vectors


# Cutting a vector short keeps its meaning only in models trained for that.
def check_dimensions(body: EmbeddingBody, size: int) -> None:
    """Raises ApiError unless the vectors have the size asked for."""
    if body.dimensions not in (None, size):
        message = f"dimensions: vectors of this model have {size} dimensions and cannot be cut to {body.dimensions}"
        raise bad_request(message, "dimensions", "unsupported_parameter")


# A million numbers take a second to write: too long for the event loop.
def listed(vectors: list[list[float]], body: EmbeddingBody, fields: dict[str, Any]) -> Response:
    """The whole response."""
    data = [entry(index, vector, body) for index, vector in enumerate(vectors)]
    return JSONResponse({"object": "list", "data": data, **fields})


def entry(index: int, vector: list[float], body: EmbeddingBody) -> dict[str, Any]:
    """The API's embedding object. base64 holds little-endian float32, as clients expect on any machine."""
    length = math.sqrt(math.fsum(value * value for value in vector)) or 1.0
    unit = [value / length for value in vector]
    encoded: list[float] | str = unit
    if body.encoding_format == "base64":
        encoded = base64.b64encode(little_endian(array("f", unit))).decode()
    return {"object": "embedding", "index": index, "embedding": encoded}


def little_endian(values: "array[float]") -> bytes:
    """The values' bytes, lowest first."""
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
