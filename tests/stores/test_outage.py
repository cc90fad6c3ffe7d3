"""What is known of sessions while their store cannot be asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.model import Session
from gateway.rules.sessions import touched
from gateway.stores.breaker import StoreResting
from gateway.stores.cached import CachedSessions
from gateway.stores.held import Held
from tests.servers import wait_until
from tests.stores.contract import GRACE, LIFETIME, Clock, a_session
from tests.stores.fakes import FakeStore, Ticks, asked

DOWN = StoreUnavailable("down")


@pytest.fixture
def make() -> type[FakeStore]:
    return FakeStore


@pytest.fixture
async def known(cached: CachedSessions, store: FakeStore, clock: Clock) -> Session:
    """A session that was read while all was well."""
    session = a_session(now=clock.now)
    store.hold(session)
    assert await cached.get(session.key) is not None
    return session


async def stale(cached: CachedSessions, session: Session, seconds: float = 60.0) -> Held | None:
    """Return what is known of a session, where stale is good enough; None: it is refused."""
    try:
        held = await cached.get(session.key, stale_for=seconds)
    except StoreUnavailable:
        return None
    assert held is not None
    return held


# --- stale copies ----------------------------------------------------------------------------


async def test_a_copy_is_served_as_stale_only_where_that_is_allowed(
    cached: CachedSessions, store: FakeStore, known: Session
) -> None:
    cached.trust(False)
    store.error = DOWN
    with pytest.raises(StoreUnavailable):
        await cached.get(known.key)
    held = await stale(cached, known)
    assert held is not None
    assert held.session == known
    assert held.stale
    with pytest.raises(StoreUnavailable):
        await cached.get(known.key)


async def test_what_was_made_of_a_copy_before_is_not_kept_for_the_stale_one(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock
) -> None:
    fresh = cached.peek(known.key, clock.now)
    assert fresh is not None
    fresh.caller = "headers that do not say stale"
    cached.trust(False)
    store.error = DOWN
    first = await stale(cached, known)
    assert first is not None
    assert first.caller is None
    first.caller = "headers that say stale"
    second = await stale(cached, known)
    assert second is not None
    assert second.caller == "headers that say stale"


@pytest.mark.parametrize(
    ("seconds_later", "served"), [(0.0, True), (59.9, True), (60.1, False), (1e6, False)]
)
async def test_a_copy_is_served_so_long_after_contact_was_lost(
    cached: CachedSessions,
    store: FakeStore,
    known: Session,
    ticks: Ticks,
    seconds_later: float,
    served: bool,
) -> None:
    ticks.now += 5000.0  # true all the while, whenever it was read
    cached.trust(False)
    store.error = DOWN
    ticks.now += seconds_later
    assert (await stale(cached, known) is not None) == served


async def test_a_stale_copy_ends_when_its_session_does(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock
) -> None:
    cached.trust(False)
    store.error = DOWN
    clock.now = known.expires_at - 0.1
    assert await stale(cached, known, 1e6) is not None
    clock.now = known.expires_at
    assert await stale(cached, known, 1e6) is None


@pytest.mark.parametrize("heard", ["before", "after"])
async def test_a_session_that_is_known_to_have_changed_is_not_served(
    cached: CachedSessions, store: FakeStore, known: Session, heard: str
) -> None:
    if heard == "before":
        cached.changed(known.key)
        cached.trust(False)
    else:
        cached.trust(False)
        cached.changed(known.key)
    store.error = DOWN
    assert await stale(cached, known) is None


async def test_nothing_of_before_is_served_once_changes_are_heard_again(
    cached: CachedSessions, store: FakeStore, known: Session
) -> None:
    cached.trust(False)
    cached.trust(True)  # as after everything was deleted at once
    store.error = DOWN
    assert await stale(cached, known) is None


async def test_what_was_never_read_is_not_served(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock
) -> None:
    cached.trust(False)
    other = a_session(now=clock.now)
    store.hold(other)
    store.error = DOWN
    assert await stale(cached, other) is None


async def test_the_store_is_asked_first_and_its_answer_counts(
    cached: CachedSessions, store: FakeStore, known: Session
) -> None:
    cached.trust(False)
    held = await stale(cached, known)
    assert held is not None
    assert not held.stale
    newer = replace(known, user=GRACE)
    store.hold(newer)
    held = await stale(cached, known)
    assert held is not None
    assert held.session == newer
    assert not held.stale


@pytest.mark.parametrize("answer", ["gone", "changed", "expired"])
async def test_what_the_store_said_last_ends_a_copy(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock, answer: str
) -> None:
    cached.trust(False)
    match answer:
        case "gone":
            await store.delete(known.key)
        case "changed":
            store.hold(replace(known, user=GRACE))
        case _:
            store.hold(replace(known, expires_at=clock.now))
    await cached.get(known.key)
    store.error = DOWN
    assert await stale(cached, known) is None


async def test_what_the_store_confirmed_is_true_from_then(
    cached: CachedSessions, store: FakeStore, known: Session, ticks: Ticks, clock: Clock
) -> None:
    cached.trust(False)
    ticks.now += 50
    store.hold(touched(known, LIFETIME, now=clock.now + 5))  # moved, and the same otherwise
    await cached.get(known.key)
    store.error = DOWN
    ticks.now += 59
    assert await stale(cached, known) is not None
    ticks.now += 2
    assert await stale(cached, known) is None


async def test_without_a_cache_there_is_nothing_stale(
    store: FakeStore, clock: Clock, ticks: Ticks
) -> None:
    uncached = CachedSessions(store, enabled=False, lifetime=LIFETIME, wall=clock, clock=ticks)
    session = a_session(now=clock.now)
    store.hold(session)
    await uncached.get(session.key)
    store.error = DOWN
    assert await stale(uncached, session) is None
    await uncached.close()


# --- the breaker -----------------------------------------------------------------------------


async def lost(cached: CachedSessions, store: FakeStore, clock: Clock) -> None:
    """Let a store fail until it is asked no longer."""
    store.error = DOWN
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await cached.get(a_session(now=clock.now).key)
    assert cached.resting
    store.loads.clear()


async def test_a_store_that_failed_twice_is_asked_by_nobody_but_a_probe(
    cached: CachedSessions, store: FakeStore, clock: Clock, ticks: Ticks
) -> None:
    await lost(cached, store, clock)
    sessions = [a_session(now=clock.now) for _ in range(100)]
    store.hold(*sessions)
    store.gate.clear()  # by now it would hang
    answers = await asyncio.gather(
        *(cached.get(session.key) for session in sessions), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreResting] * 100
    assert store.loads == []
    ticks.now += 0.1
    await asked(store, 1)
    assert len(store.loads[0]) == 1
    with pytest.raises(StoreResting):
        await cached.get(sessions[0].key)
    assert len(store.loads) == 1


async def test_the_first_answer_to_a_probe_brings_everything_back(
    cached: CachedSessions, store: FakeStore, clock: Clock, ticks: Ticks
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    with capture_logs() as logs:
        await lost(cached, store, clock)
        ticks.now += 0.1
        await asked(store, 1)
        store.error = None
        ticks.now += 0.2
        await wait_until(lambda: not cached.resting)
    held = await cached.get(session.key)
    assert held is not None
    assert held.session == session
    assert [line["event"] for line in logs] == ["store_lost", "store_back"]
    assert logs[1]["seconds"] == 0.3


async def test_a_probe_asks_for_what_somebody_wants(
    cached: CachedSessions, store: FakeStore, clock: Clock, ticks: Ticks
) -> None:
    await lost(cached, store, clock)
    wanted = a_session(now=clock.now)
    with pytest.raises(StoreResting):
        await cached.get(wanted.key)
    ticks.now += 0.1
    await asked(store, 1)
    assert store.loads == [[wanted.key]]


async def test_a_bug_does_not_end_the_probes(
    cached: CachedSessions, store: FakeStore, clock: Clock, ticks: Ticks
) -> None:
    await lost(cached, store, clock)
    store.error = RuntimeError("a bug")
    ticks.now += 0.1
    await asked(store, 1)
    store.error = None
    ticks.now += 0.2
    await wait_until(lambda: not cached.resting)


async def test_a_bug_is_no_reason_to_ask_no_more(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    store.error = RuntimeError("a bug")
    for _ in range(5):
        with pytest.raises(RuntimeError):
            await cached.get(a_session(now=clock.now).key)
    assert not cached.resting


async def test_one_failure_between_answers_changes_nothing(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    for _ in range(5):
        store.error = DOWN
        with pytest.raises(StoreUnavailable):
            await cached.get(a_session(now=clock.now).key)
        store.error = None
        await cached.get(a_session(now=clock.now).key)
    assert not cached.resting


async def test_copies_are_served_while_the_store_rests(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock
) -> None:
    await lost(cached, store, clock)  # and changes are still heard: they are true
    held = await cached.get(known.key)
    assert held is not None
    assert not held.stale
    cached.trust(False)
    held = await stale(cached, known)
    assert held is not None
    assert held.stale
    assert store.loads == []


async def test_stale_copies_are_served_until_the_store_answers_not_only_until_it_is_heard(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock, ticks: Ticks
) -> None:
    cached.trust(False)
    await lost(cached, store, clock)
    for trusted in (True, False, True):  # heard again, lost again, and heard again
        cached.trust(trusted)
        held = await stale(cached, known)
        assert held is not None
        assert held.stale
    store.error = None
    ticks.now += 0.1
    await wait_until(lambda: not cached.resting)
    held = await cached.get(known.key)
    assert held is not None
    assert not held.stale


@pytest.mark.parametrize("lost_before", [True, False])
async def test_nothing_is_stale_once_everything_is_known_to_be_gone_though_the_store_rests(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock, lost_before: bool
) -> None:
    if lost_before:
        cached.trust(False)
    await lost(cached, store, clock)
    if lost_before:
        cached.trust(True)
    cached.all_changed()
    assert await stale(cached, known) is None
    cached.trust(False)
    assert await stale(cached, known) is None


async def test_touches_wait_while_the_store_rests(
    cached: CachedSessions, store: FakeStore, known: Session, clock: Clock, ticks: Ticks
) -> None:
    await lost(cached, store, clock)
    with capture_logs() as logs:
        moved = cached.touch_soon(known)
        ticks.now += 0.1
        await asked(store, 1)
        assert store.touches == []
        store.error = None
        ticks.now += 0.2
        await wait_until(lambda: store.touches)
    assert store.touches == [moved.session]
    assert [line["event"] for line in logs] == ["store_back"]
