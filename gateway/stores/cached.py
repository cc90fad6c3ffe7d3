"""Copies of sessions in this process, true as long as the store tells of every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.errors import StoreUnavailable
from gateway.model import Lifetime, Session, SessionKey
from gateway.rules.sessions import is_over, touched
from gateway.stores.protocol import SessionStore, Watcher

log = structlog.get_logger()

_TOGETHER = 0.002
"""Seconds that a question waits at most for a command under way, to go out with others after it.

A command costs much more than a key in it: 38 us against 3 in Redis.
"""
_TOUCHES_AT_ONCE = 16
_TOUCHES_PENDING = 10_000


@dataclass(slots=True, eq=False)
class Held:
    """A session, and what its caller made of it: the same object while the copy is kept."""

    session: Session
    caller: object | None = None
    """Free for whoever asks, such as the headers built from this session. None at first."""


@dataclass(slots=True, eq=False)
class _Question:
    """A key that the store is asked for, and all who wait for the answer."""

    key: SessionKey
    waiting: list[asyncio.Future[Held | None]] = field(default_factory=list)


class CachedSessions(Watcher):
    """Answers from memory where it can, and asks the store as seldom as it can where it cannot.

    A copy is kept only while the store's changes are heard, and is dropped when its session
    changes. With ``enabled=False`` nothing is kept, and every request asks the store; those of one
    turn of the event loop still go out together.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        enabled: bool,
        lifetime: Lifetime,
        wall: Callable[[], float],
        max_entries: int = 50_000,
    ) -> None:
        self._store = store
        self._enabled = enabled
        self._lifetime = lifetime
        self._wall = wall
        # Two generations: when the younger is half of what is allowed, the older goes. What was
        # used in between has moved to the younger, so it stays; no use costs a reordering.
        self._young: dict[SessionKey, Held] = {}
        self._old: dict[SessionKey, Held] = {}
        self._half = max(1, max_entries // 2)
        self._trusted = False
        # An answer is kept only if its question still stands here when it comes: a change heard
        # meanwhile strikes the question, since the answer may be from before it.
        self._asked: dict[SessionKey, _Question] = {}
        self._unsent: list[_Question] = []
        self._loads: set[asyncio.Task[None]] = set()
        self._touches: dict[SessionKey, Session] = {}
        self._touching: asyncio.Task[None] | None = None
        if enabled:
            store.watch(self)

    def peek(self, key: SessionKey, now: float) -> Held | None:
        """Return the session if it is known without asking; None means: ask."""
        held = self._young.get(key)
        if held is None:
            if key not in self._old:
                return None
            held = self._old.pop(key)
            self._keep(key, held)
        # A copy that has expired here may have been extended by another process.
        return held if now < held.session.expires_at else None

    async def get(self, key: SessionKey) -> Held | None:
        """Return the live session under this key, from the store if need be.

        Raises:
            StoreUnavailable: Nobody knows whether there is one.
        """
        held = self.peek(key, self._wall())
        if held is not None:
            return held
        loop = asyncio.get_running_loop()
        question = self._asked.get(key)
        if question is None:
            question = self._asked[key] = _Question(key)
            if not self._unsent:
                if self._loads:
                    loop.call_later(_TOGETHER, self._send)
                else:
                    loop.call_soon(self._send)
            self._unsent.append(question)
        # One future for each who waits: who gives up must not take the answer from the others.
        answer: asyncio.Future[Held | None] = loop.create_future()
        question.waiting.append(answer)
        return await answer

    def changed(self, key: SessionKey) -> None:
        """Drop the copy of this session, and keep no answer that is on its way."""
        self._young.pop(key, None)
        self._old.pop(key, None)
        self._asked.pop(key, None)

    forget = changed
    """For who has just changed a session and does not wait until the store tells."""

    def trust(self, trusted: bool) -> None:
        """Drop every copy, and keep new ones only while changes are heard."""
        self._trusted = trusted
        self._young.clear()
        self._old.clear()
        self._asked.clear()

    def touch_soon(self, session: Session) -> Held:
        """Move the session's expiry: here at once, in the store soon after.

        A touch that fails is logged and refuses nobody: the session keeps the expiry it had.
        """
        held = Held(touched(session, self._lifetime, now=self._wall()))
        key = session.key
        # Only in place of this very copy: what was revoked or changed since must not come back.
        copy = self._young.get(key)
        if copy is not None and copy.session is session:
            self._young[key] = held
        if key not in self._touches and len(self._touches) >= _TOUCHES_PENDING:
            return held
        self._touches[key] = held.session
        if self._touching is None:
            self._touching = asyncio.get_running_loop().create_task(self._write_touches())
        return held

    async def close(self, *, within: float = 2.0) -> None:
        """Write the touches that are pending, for at most so many seconds, and stop."""
        self.trust(False)
        if self._touching is not None:
            await asyncio.wait((self._touching,), timeout=within)
        tasks = [task for task in (self._touching, *self._loads) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, key: SessionKey, held: Held) -> None:
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[key] = held

    def _send(self) -> None:
        if not self._unsent:
            return
        questions, self._unsent = self._unsent, []
        if not (self._enabled and self._trusted):
            # Who asks after this moment must not get an answer from before it.
            for question in questions:
                self._strike(question)
        task = asyncio.get_running_loop().create_task(self._load(questions))
        self._loads.add(task)
        task.add_done_callback(self._loaded)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loads.discard(task)
        self._send()

    async def _load(self, questions: list[_Question]) -> None:
        try:
            sessions = await self._store.load([question.key for question in questions])
        except asyncio.CancelledError:
            self._fail(questions, StoreUnavailable("the gateway is stopping"))
            raise
        except Exception as exc:  # a bug as well: nobody may wait for ever
            self._fail(questions, exc)
            return
        now = self._wall()
        for question, session in zip(questions, sessions, strict=True):
            held = None if session is None or is_over(session, now) else Held(session)
            if self._strike(question) and held is not None:
                self._keep(question.key, held)
            for answer in question.waiting:
                if not answer.done():
                    answer.set_result(held)

    def _fail(self, questions: list[_Question], exc: Exception) -> None:
        for question in questions:
            self._strike(question)
            for answer in question.waiting:
                if not answer.done():
                    answer.set_exception(exc)

    def _strike(self, question: _Question) -> bool:
        """Let nobody else wait for this answer; True if it may be kept."""
        if self._asked.get(question.key) is not question:
            return False
        del self._asked[question.key]
        return True

    async def _write_touches(self) -> None:
        try:
            while self._touches:
                batch = list(self._touches.values())[:_TOUCHES_AT_ONCE]
                for session in batch:
                    del self._touches[session.key]
                results = await asyncio.gather(
                    *map(self._store.touch, batch), return_exceptions=True
                )
                failed = [result for result in results if isinstance(result, BaseException)]
                if failed:
                    log.warning("touch_failed", sessions=len(failed), error=str(failed[0]))
        finally:
            self._touching = None
