"""Coroutines that run without a task as long as they need none.

Whoever drives one calls ``send(None)`` and looks at what it yields: an ``Answering``, which calls
back when there is something to go on with; a future, to whose callbacks one can be added; or
anything else, and then the rest of it needs a task (``in_task``). Most requests wait for their
upstream alone: two turns of the event loop are saved, and a task for each connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine as awaitable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Answering(Protocol):
    """What a driven coroutine yields while it waits for an upstream."""

    wake: Callable[[], None] | None
    """Called once, when the coroutine can go on."""


class _NeedsATask:
    """What a driven coroutine yields to be gone on with in a task."""


_NEEDS_A_TASK = _NeedsATask()


@awaitable
def task_needed() -> Generator[_NeedsATask, None, None]:
    """Go on in a task: before anything that asks which task is running, as time limits do."""
    yield _NEEDS_A_TASK


async def in_task(coroutine: Coroutine[Any, None, T], waited: object) -> T:
    """Run what is left of a coroutine that has begun without a task and yielded ``waited``."""
    return await _rest(coroutine, waited)


async def with_futures(coroutine: Coroutine[Any, None, T]) -> T:
    """Run a coroutine that waits for an upstream, in the task there is."""
    return await _rest(coroutine, _NEEDS_A_TASK)


@awaitable
def _rest(coroutine: Coroutine[Any, None, T], waited: object) -> Generator[Any, None, T]:
    try:
        while True:
            try:
                if waited is not _NEEDS_A_TASK:
                    yield from _as_futures(waited)
            except BaseException as error:
                waited = coroutine.throw(error)
            else:
                waited = coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result


def _as_futures(waited: Any) -> Generator[Any, None, None]:
    """Wait as a task can."""
    if not hasattr(waited, "wake"):
        yield waited
        return
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    waited.wake = wake
    try:
        yield from future
    finally:
        waited.wake = None
