"""``/v1/specialists``: what requests are routed to. Changes are files: other servers of this user see them, too."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from synapse_engine.server.errors import ApiError, bad_request, specialist_not_found
from synapse_engine.server.openapi import takes
from synapse_engine.server.schemas.library import SpecialistBody
from synapse_engine.server.state import state_of
from synapse_engine.specialists import Library, Specialist, SpecialistError, UnknownSpecialistError, specialist_of

router = APIRouter()
OBJECT = "specialist"


@router.get("/v1/specialists", summary="List the specialists")
async def specialists(request: Request) -> dict[str, Any]:
    """All that requests can be routed to, and the files that cannot be used."""
    state = state_of(request)
    return await state.work(lambda: listed(state.desk.library))


def listed(library: Library) -> dict[str, Any]:
    """The list as the API has it."""
    problems = [
        {"file": str(problem.file), "message": str(problem.error), "hint": problem.error.hint}
        for problem in library.problems()
    ]
    return {"object": "list", "data": [entry(one) for one in library.all()], "problems": problems}


@router.get("/v1/specialists/{name}", summary="Show a specialist")
async def specialist(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    state = state_of(request)
    try:
        return entry(await state.work(lambda: state.desk.library.find(name)))
    except UnknownSpecialistError as error:
        raise specialist_not_found(error, None) from error


@router.post("/v1/specialists", openapi_extra=takes(SpecialistBody), summary="Add or replace a specialist")
async def add(request: Request) -> dict[str, Any]:
    """It is there for the next request; one of the same name is replaced, and requests that run finish with that."""
    state = state_of(request)
    body = await state.body(request, SpecialistBody)
    return entry(await state.work(lambda: added(state.desk.library, body)))


def added(library: Library, body: SpecialistBody) -> Specialist:
    """Writes the file; raises ApiError."""
    try:
        wanted = specialist_of(body.fields(), "the specialist")
        if wanted.adapter is not None and not wanted.adapter.is_absolute():
            message = f"adapter: expected an absolute path on the server's machine, found {wanted.adapter}"
            raise bad_request(message, "adapter")
        return library.put(wanted)
    except SpecialistError as error:
        message = f"{error}; {error.hint}" if error.hint else str(error)
        raise bad_request(message if error.field is None else f"{error.field}: {message}", error.field) from error
    except OSError as error:
        raise unwritable(library.folder, error) from error


@router.delete("/v1/specialists/{name}", summary="Remove a specialist")
async def remove(request: Request, name: str) -> dict[str, Any]:
    """Only the user's own; a starter that one stood in for is there again."""
    state = state_of(request)
    library = state.desk.library
    try:
        await state.work(lambda: library.remove(name))
    except UnknownSpecialistError as error:
        raise specialist_not_found(error, None) from error
    except SpecialistError as error:
        raise bad_request(f"{error}; {error.hint}") from error
    except OSError as error:
        raise unwritable(library.folder, error) from error
    return {"object": f"{OBJECT}.deleted", "name": name, "deleted": True}


def entry(specialist: Specialist) -> dict[str, Any]:
    """The API's specialist object."""
    return {
        "object": OBJECT,
        "name": specialist.name,
        "description": specialist.description,
        "examples": specialist.examples,
        "system_prompt": specialist.system_prompt,
        "sampling": specialist.sampling,
        "adapter": str(specialist.adapter) if specialist.adapter else None,
        "built_in": specialist.source is None,
    }


def unwritable(folder: Path, error: OSError) -> ApiError:
    """The disk does not take the change."""
    message = f"{folder} cannot be written: {error.strerror or error}"
    return ApiError(HTTPStatus.INSUFFICIENT_STORAGE, message, type="server_error", code="storage_error")
