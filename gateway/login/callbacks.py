"""Calls an operator's own Python: at sign-in, and where a browser asks who is signed in."""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import structlog

from gateway.config.python_code import OwnCallback, OwnCallbacks
from gateway.errors import CallbackFailed, SignInDenied
from gateway.model import User
from gateway.rules import callbacks as rules

TIMEOUT = 5.0
"""Seconds that a callback may take, with the wait for a thread."""
_THREADS = 8

T = TypeVar("T")

log = structlog.get_logger()


class Threads:
    """Runs functions in a few threads: one that hangs keeps its place, but not the process."""

    def __init__(self, most: int = _THREADS) -> None:
        self._free = asyncio.Semaphore(most)

    async def run(self, function: Callable[[], T]) -> T:
        """Return what a function returns, or raise what it raises; who gives up waits no more."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Callable[[], T]] = loop.create_future()

        def finish(outcome: Callable[[], T]) -> None:
            self._free.release()
            if not done.done():
                done.set_result(outcome)

        def work() -> None:
            outcome: Callable[[], T]
            try:
                outcome = partial(_return, function())
            except (Exception, SystemExit) as exc:
                outcome = partial(_raise, exc)
            except BaseException as exc:  # it would end the gateway
                outcome = partial(_raise, RuntimeError(type(exc).__name__))
            try:
                loop.call_soon_threadsafe(finish, outcome)
            except RuntimeError:
                return  # the gateway has stopped meanwhile

        # A daemon: an executor's threads would be waited for when the gateway stops.
        thread = threading.Thread(target=work, name="callback", daemon=True)
        try:
            thread.start()
        except BaseException:  # the system has no more of them
            self._free.release()
            raise
        return (await done)()


class Callbacks:
    """An operator's ``sign_in``, ``jwt`` and ``session``; each may be missing.

    An exception, a result that is none, and more time than there is refuse what was asked for:
    the log says in which line, and the client nothing.
    """

    def __init__(
        self, own: OwnCallbacks | None, threads: Threads, *, timeout: float = TIMEOUT
    ) -> None:
        self._own = own
        self._threads = threads
        self._timeout = timeout

    @property
    def keeps(self) -> bool:
        """Whether there is a ``jwt``, which decides what is kept."""
        return self._own is not None and self._own.jwt is not None

    async def admit(self, user: User, kind: str) -> None:
        """Ask ``sign_in`` whether somebody who has proved who they are may sign in.

        Args:
            kind: By what: ``credentials`` or ``upstream``.

        Raises:
            SignInDenied: They may not.
            CallbackFailed: It could not say.
        """
        if self._own is None or self._own.sign_in is None:
            return
        answer = await self._ask(
            "sign_in",
            self._own.sign_in,
            rules.answer_of,
            user=rules.user_of(user),
            account=rules.account_of(user, kind),
        )
        if answer is not True:
            raise SignInDenied(answer or None)

    async def keep(
        self,
        user: User,
        data: Mapping[str, Any],
        *,
        trigger: str | None = None,
        new: object = None,
    ) -> tuple[User, Mapping[str, Any]]:
        """Ask ``jwt`` what a session is to keep.

        Args:
            trigger: ``signIn``, ``update``, or None where somebody merely asks.
            new: With ``update``: what the client sent.

        Raises:
            CallbackFailed: It could not say.
        """
        if self._own is None or self._own.jwt is None:
            return user, data
        return await self._ask(
            "jwt",
            self._own.jwt,
            lambda token: rules.kept_of(token, user, data),
            token=rules.token_of(user, data),
            user=rules.user_of(user) if trigger == "signIn" else None,
            trigger=trigger,
            session=new,
        )

    async def show(
        self,
        session: dict[str, Any],
        user: User,
        data: Mapping[str, Any],
        *,
        trigger: str | None = None,
        new: object = None,
    ) -> dict[str, Any]:
        """Ask ``session`` what a browser is shown of its session.

        Args:
            session: What it is shown where nobody says anything else.

        Raises:
            CallbackFailed: It could not say.
        """
        if self._own is None or self._own.session is None:
            return session
        return await self._ask(
            "session",
            self._own.session,
            rules.shown_of,
            session=session,
            token=rules.token_of(user, data),
            user=rules.user_of(user),
            trigger=trigger,
            new_session=new,
        )

    async def _ask(
        self, name: str, callback: OwnCallback, read: Callable[[Any], T], **values: Any
    ) -> T:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                if callback.asynchronous:
                    result = await callback(**values)
                else:
                    result = await self._threads.run(partial(callback, **values))
                    if inspect.isawaitable(result):
                        result = await result
        except (Exception, SystemExit) as exc:
            late = f"took longer than {self._timeout:g} s"
            why = late if limit.expired() else f"raised {type(exc).__name__}"
            raise _failed(name, why, exc) from exc
        try:
            return read(result)
        except ValueError as exc:
            raise _failed(name, f"returned what cannot be used: {exc}", None) from exc


def _failed(name: str, why: str, exc: BaseException | None) -> CallbackFailed:
    # No message of the exception: it may hold what the callback was given.
    frames = traceback.extract_tb(None if exc is None else exc.__traceback__)
    where = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename != __file__]
    log.error("callback_failed", callback=name, why=why, where=where)
    return CallbackFailed(f"the {name} callback {why}")


def _return(value: T) -> T:
    return value


def _raise(exc: BaseException) -> Any:
    raise exc
