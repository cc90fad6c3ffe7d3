"""Copies of sessions in this process, true as long as the store tells of every change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.errors import StoreUnavailable
from gateway.model import Lifetime, Session, SessionKey
from gateway.rules.sessions import is_over, touched
from gateway.stores.absent import Absent
from gateway.stores.breaker import GuardedStore
from gateway.stores.held import Held, Recall
from gateway.stores.protocol import LookupStore, Watcher
from gateway.stores.touches import Touches
from gateway.stores.unverified import Unverified

_TOGETHER = 0.002
"""Seconds that a question waits at most for a command under way, to go out with others after it."""

_MOST = 100
"""Questions that go out at once, though there may be more in the next turn of the loop."""


@dataclass(slots=True, eq=False)
class _Question:
    """A key that the store is asked for, and all who wait for the answer."""

    key: SessionKey
    waiting: list[asyncio.Future[Held | None]] = field(default_factory=list)


class CachedSessions(Watcher):
    """Answers from memory where it can, and asks the store as seldom as it can where it cannot.

    A copy is kept only while the store's changes are heard, and is dropped when its session
    changes. Copies from before contact was lost are given to those alone who accept stale ones.
    With ``enabled=False`` nothing is kept, and every request asks the store; those of one turn of
    the event loop still go out together.

    Args:
        wall: Returns Unix seconds.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        store: LookupStore,
        *,
        enabled: bool,
        lifetime: Lifetime,
        wall: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = 50_000,
    ) -> None:
        self._enabled = enabled
        self._lifetime = lifetime
        self._wall = wall
        self._clock = clock
        self._store = GuardedStore(store, clock=clock)
        self._find = store.find
        # Two generations: when the younger is half of what is allowed, the older goes. What was
        # used in between has moved to the younger, so it stays; no use costs a reordering.
        self._young: dict[SessionKey, Held] = {}
        self._old: dict[SessionKey, Held] = {}
        self._half = max(1, max_entries // 2)
        self._trusted = False
        self._absent = Absent()
        self._unverified = Unverified()
        self._recall = Recall() if not enabled else None
        # An answer is kept only if its question still stands here when it comes: a change heard
        # meanwhile strikes the question, since the answer may be from before it.
        self._asked: dict[SessionKey, _Question] = {}
        self._unsent: list[_Question] = []
        self._loads: set[asyncio.Task[None]] = set()
        self._touches = Touches(store, self._store, self.changed)
        if enabled:
            store.watch(self)

    @property
    def resting(self) -> bool:
        """Whether the store has not answered lately, and is not asked."""
        return self._store.resting

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

    async def get(self, key: SessionKey, *, stale_for: float = 0.0) -> Held | None:
        """Return the live session under this key, from the store if need be.

        Args:
            stale_for: Where the store cannot be asked: how many seconds ago what is returned may
                have been true. It is marked as stale.

        Raises:
            StoreUnavailable: Nobody knows whether there is one.
        """
        held = self.peek(key, self._wall())
        if held is not None:
            return held
        if self._absent.holds(key, self._clock()):
            return None
        try:
            return await self._ask(key)
        except StoreUnavailable:
            if not stale_for:
                raise
            now, wall = self._clock(), self._wall()
            held = self._unverified.get(key, at_most=stale_for, now=now, wall=wall)
            if held is None:
                raise
            return held

    async def current(self, session: Session) -> Held | None:
        """Return what a session is by now, wherever a new token has moved it; None: it is over.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        held = await self.get(session.key)
        if held is not None and held.session.replaced_by is not None:
            return await self.get(held.session.replaced_by)
        if held is None:
            moved = await self._find(session.id)
            return Held(moved) if moved is not None and moved.replaces == session.key else None
        return held

    def changed(self, key: SessionKey) -> None:
        """Drop the copy of this session, and keep no answer that is on its way."""
        self._young.pop(key, None)
        self._old.pop(key, None)
        self._asked.pop(key, None)
        self._absent.forget(key)
        self._unverified.drop(key)

    forget = changed
    """For who has just changed a session and does not wait until the store tells."""

    def all_changed(self) -> None:
        """Drop all copies, and those as well that may be served as stale."""
        self.trust(self._trusted)
        self._unverified.clear()

    def trust(self, trusted: bool) -> None:
        """Keep copies only while changes are heard; those of before are true no longer for sure."""
        if trusted:
            if not self._store.resting:  # else they are needed until it answers
                self._unverified.clear()
        elif self._trusted and (self._young or self._old or not self._store.resting):
            # Heard for a moment while nothing was read: what there was before is as true as then.
            self._unverified.take(self._young, self._old, now=self._clock())
        self._trusted = trusted
        self._young = {}
        self._old = {}
        self._absent.clear()
        self._asked.clear()

    def touch_soon(self, session: Session) -> Held:
        """Move the session's expiry: here at once, in the store soon after."""
        return self.move(session, touched(session, self._lifetime, now=self._wall()))

    def move(self, session: Session, moved: Session) -> Held:
        """Let what others say of a session's times stand: here at once, in the store soon after."""
        held = Held(moved)
        # Only in place of this very copy: what was revoked or changed since must not come back.
        copy = self._young.get(session.key)
        if copy is not None and copy.session is session:
            self._young[session.key] = held
        self._touches.add(held.session)
        return held

    def slide(self, session: Session) -> Session:
        """Move the session's expiry, for who needs no more of it."""
        return self.touch_soon(session).session

    def key_of(self, session: Session) -> SessionKey:
        """Return the session's key."""
        return session.key

    def told_under(self, session: Session) -> tuple[SessionKey, ...]:
        """Return the session's key."""
        return (session.key,)

    def steady(self, key: SessionKey) -> str:
        """Return what stays the same for a session while its token does."""
        return key

    async def close(self, *, within: float = 2.0) -> None:
        """Write the touches that are pending, for at most so many seconds, and stop."""
        self.trust(False)
        await self._touches.close(within)
        await self._store.close()
        for task in self._loads:
            task.cancel()
        await asyncio.gather(*self._loads, return_exceptions=True)

    def _keep(self, key: SessionKey, held: Held) -> None:
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[key] = held

    async def _ask(self, key: SessionKey) -> Held | None:
        loop = asyncio.get_running_loop()
        question = self._asked.get(key)
        if question is None:
            question = self._asked[key] = _Question(key)
            if not self._unsent:
                if self._loads:
                    loop.call_later(_TOGETHER, self._send)
                else:
                    loop.call_soon(self._gather, 0)
            self._unsent.append(question)
        # One future for each who waits: who gives up must not take the answer from the others.
        answer: asyncio.Future[Held | None] = loop.create_future()
        question.waiting.append(answer)
        return await answer

    def _gather(self, before: int) -> None:
        """Send what is wanted once a turn of the loop brings nothing more."""
        if before < len(self._unsent) < _MOST:
            asyncio.get_running_loop().call_soon(self._gather, len(self._unsent))
        else:
            self._send()

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
        self._gather(0)

    async def _load(self, questions: list[_Question]) -> None:
        asked_at = self._clock()
        try:
            sessions = await self._store.load([question.key for question in questions])
        except asyncio.CancelledError:
            self._fail(questions, StoreUnavailable("the gateway is stopping"))
            raise
        except Exception as exc:  # a bug as well: nobody may wait for ever
            self._fail(questions, exc)
            return
        if self._trusted:
            self._unverified.clear()
        now = self._wall()
        for question, session in zip(questions, sessions, strict=True):
            key = question.key
            held = None if session is None or is_over(session, now) else self._held(session)
            if self._strike(question):
                if held is None:
                    self._absent.add(key, self._clock())
                else:
                    self._keep(key, held)
            elif not self._trusted:
                self._unverified.learn(key, None if held is None else held.session, asked_at)
            for answer in question.waiting:
                if not answer.done():
                    answer.set_result(held)

    def _held(self, session: Session) -> Held:
        return Held(session) if self._recall is None else self._recall.held(session)

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
