"""Ends work when the client that asked for it has gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from synapse_engine.server.errors import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import Receive

T = TypeVar("T")


async def while_connected(receive: Receive, work: Coroutine[None, None, T]) -> T:
    """The result of ``work``; if the client goes first, cancels it and raises ClientGoneError.

    The body must have been read before: what ``receive`` gives next is the disconnection.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnection(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
