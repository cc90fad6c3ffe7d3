"""What ends WebSockets and streams before their time.

A request is decided on when it comes. What is still under way when its session ends or changes, or
when other rules are loaded, is decided on again, by what is true by then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from gateway.errors import Reason
from gateway.model import Session, SessionKey
from gateway.rules import sessions
from gateway.server.exchange import Exchange
from gateway.server.under_way import Place, UnderWay
from gateway.sources.protocol import Source
from gateway.stores.held import Held
from gateway.stores.live import LiveSessions
from gateway.stores.protocol import SessionStore, Watcher

if TYPE_CHECKING:
    from gateway.server.gateway import Gateway

log = structlog.get_logger()

_INTERVAL = 0.5
_AT_ONCE = 100
_PATIENCE = 1.0
"""Seconds for which something may go on after its session was heard to change, while the store
does not say how."""
_NEVER = float("inf")
_OURS = ""


class Ongoing(Watcher):
    """All answers of this process that are under way after their head.

    While the store cannot be asked they go on, at most until their session's end as it is known:
    nobody can say that it has changed. Once its changes are heard again, all are looked at; and
    all the time while it answers, but its changes are not heard.

    Args:
        wall: Returns Unix seconds.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        store: SessionStore,
        cached: LiveSessions,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cached = cached
        self._wall = wall
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._gateway: Gateway | None = None
        self._all: set[UnderWay] = set()
        self._by_place: dict[Place, set[UnderWay]] = {}
        # What may have changed, and until when the store may take to say so.
        self._suspects: dict[Place, float] = {}
        self._ruled_anew: set[UnderWay] = set()
        self._trusted = False
        self._checking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        store.watch(self)

    def begin(
        self,
        exchange: Exchange,
        end: Callable[[], None],
        *,
        heard: Callable[[], int] = lambda: 0,
    ) -> UnderWay:
        """List an answer whose head has gone, until it says that it is over.

        Args:
            end: Ends it, so that the client sees that it is not whole.
            heard: How many bytes the client has sent: new ones count as use of the session.
        """
        one = UnderWay(exchange, end, heard, self._forget)
        self._all.add(one)
        self._list(one)
        if self._timer is None:
            self._timer = self._loop.call_later(_INTERVAL, self._sweep)
        return one

    def go_by(self, gateway: Gateway) -> None:
        """Decide by this configuration from now on, and anew on everything under way."""
        self._gateway = gateway
        self._ruled_anew = set(self._all)
        self._look()

    async def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait((self._checking,))

    # --- when to look ------------------------------------------------------------------------

    def changed(self, key: SessionKey) -> None:
        """Look at what is under way in a session that was changed or removed."""
        self.suspect(_OURS, key)

    def all_changed(self) -> None:
        """Look at everything that is under way in a session."""
        self.suspect_all(_OURS, _PATIENCE)

    def trust(self, trusted: bool) -> None:
        """Look at everything once changes are heard again: some may have been missed."""
        self._trusted = trusted
        if trusted:
            self.suspect_all(_OURS)

    def hear(self, source: Source) -> None:
        """Look at what is under way in sessions of others as well, when these tell of changes."""
        source.watch(_Elsewhere(self, source.name))

    def suspect(self, source: str, key: SessionKey) -> None:
        """Look at what is under way in one session."""
        concerned = self._by_place.get((source, key))
        if concerned:
            places = (one.place for one in concerned if one.place is not None)
            self._suspects |= dict.fromkeys(places, self._clock() + _PATIENCE)
            self._look()

    def suspect_all(self, source: str, patience: float = _NEVER) -> None:
        """Look at all that is under way in sessions of one source."""
        until = self._clock() + patience
        places = (one.place for one in self._all if one.place is not None)
        own = dict.fromkeys((place for place in places if place[0] == source), until)
        self._suspects = own | self._suspects if patience == _NEVER else self._suspects | own
        self._look()

    def _sweep(self) -> None:
        self._timer = None
        gateway = self._gateway
        if gateway is None or not self._all:
            return
        self._timer = self._loop.call_later(_INTERVAL, self._sweep)
        now, age = self._wall(), gateway.update_age
        for one in self._all:
            session, place = one.session, one.place
            if session is None or place is None:
                continue
            if one.fresh or sessions.is_over(session, now):
                one.fresh = False
                self._suspects.setdefault(place, _NEVER)
                continue
            if one.source is not None:
                self._sweep_elsewhere(one, one.source, session, place)
                continue
            unmoved = now - session.touched_at
            # What was sent earlier than that moves nothing, as with requests.
            if unmoved >= age - _INTERVAL and one.used() and unmoved >= age:
                one.session = self._touched(session, gateway, now)
        if not self._trusted and not self._cached.resting:
            self.suspect_all(_OURS)
        self._look()

    def _sweep_elsewhere(
        self, one: UnderWay, source: Source, session: Session, place: Place
    ) -> None:
        """Do the same for a session that another framework has issued, by its rules."""
        now = self._wall()
        if not source.heard and not source.resting:
            self._suspects.setdefault(place, _NEVER)
        elif source.due(session, now) and one.used():
            one.session = source.touch(session, now).session

    def _touched(self, session: Session, gateway: Gateway, now: float) -> Session:
        """Slide the session's expiry, unless a request has done so."""
        held = self._cached.peek(session.key, now)
        if held is not None:
            session = held.session
        if sessions.due(session, gateway.lifetime, now=now):
            session = self._cached.slide(session)
        return session

    # --- looking -----------------------------------------------------------------------------

    def _look(self) -> None:
        if self._checking is None and (self._suspects or self._ruled_anew):
            self._checking = self._loop.create_task(self._check(), name="ongoing")

    async def _check(self) -> None:
        unknown: dict[Place, float] = {}
        try:
            while self._ruled_anew or self._suspects:
                for one in list(islice(self._ruled_anew, _AT_ONCE)):
                    self._ruled_anew.discard(one)
                    self._judge(one, self._known(one))
                some = {key: self._suspects[key] for key in islice(self._suspects, _AT_ONCE)}
                for key in some:
                    del self._suspects[key]
                answers = await asyncio.gather(*map(self._judge_all, some, some.values()))
                for (key, until), known in zip(some.items(), answers, strict=True):
                    if not known:
                        unknown[key] = until
                await asyncio.sleep(0)
        finally:
            self._suspects = unknown | self._suspects  # the next sweep asks again
            self._checking = None

    async def _judge_all(self, place: Place, until: float) -> bool:
        """Decide on everything under way in a session; False if the store is to be asked again."""
        listed = self._by_place.get(place)
        one = next(iter(listed)) if listed else None
        known = None if one is None else one.session
        if one is None or known is None:
            return True
        try:
            held = await (self._cached if one.source is None else one.source).current(known)
        except Exception:  # a bug as well: nothing goes on for ever because of it
            if self._clock() < until and not sessions.is_over(known, self._wall()):
                return False
            held = None
        for each in list(self._by_place.get(place, ())):
            self._judge(each, held)
        return True

    def _known(self, one: UnderWay) -> Held | None:
        """Return what a session is, as far as it is known without asking."""
        session = one.session
        if session is None:
            return None
        place = self._cached if one.source is None else one.source
        return place.peek(session.key, self._wall()) or Held(session)

    def _judge(self, one: UnderWay, held: Held | None) -> None:
        """End what would not be begun now; of the rest, note what its session is by now."""
        if self._gateway is None or one not in self._all:
            return
        why = one.refusal(self._gateway, held, self._wall())
        if why is not None:
            self._forget(one)
            log.info("broken off", request_id=one.exchange.request_id, why=why)
            one.exchange.reason = Reason.SESSION_ENDED
            one.end()
        elif held is not None and one.session is not None:
            self._unlist(one)
            one.fresh = held.session.key != one.session.key
            one.session = held.session
            self._list(one)

    # --- the list ----------------------------------------------------------------------------

    def _forget(self, one: UnderWay) -> None:
        self._all.discard(one)
        self._ruled_anew.discard(one)
        self._unlist(one)

    def _list(self, one: UnderWay) -> None:
        for place in self._places(one):
            self._by_place.setdefault(place, set()).add(one)

    def _unlist(self, one: UnderWay) -> None:
        for place in self._places(one):
            listed = self._by_place.get(place)
            if listed is not None:
                listed.discard(one)
                if not listed:
                    del self._by_place[place]

    def _places(self, one: UnderWay) -> Iterable[Place]:
        """Return every place whose change concerns it, not only its session's."""
        if one.session is None:
            return ()
        if one.source is not None:
            return ((one.source.name, one.session.key),)
        return ((_OURS, key) for key in self._cached.told_under(one.session))


class _Elsewhere(Watcher):
    """Passes on what a source tells."""

    def __init__(self, ongoing: Ongoing, source: str) -> None:
        self._ongoing = ongoing
        self._source = source

    def changed(self, key: SessionKey) -> None:
        self._ongoing.suspect(self._source, key)

    def all_changed(self) -> None:
        self._ongoing.suspect_all(self._source, _PATIENCE)

    def trust(self, trusted: bool) -> None:
        if trusted:
            self._ongoing.suspect_all(self._source)
