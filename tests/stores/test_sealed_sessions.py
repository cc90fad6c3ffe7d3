"""Sessions in cookies, with and without a store that knows what counts against them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest

from gateway.errors import SessionTooLarge, StoreUnavailable
from gateway.formats.chunks import split
from gateway.formats.sealed import KeyRing
from gateway.model import ANONYMOUS, Lifetime, SealedSession, Session, SessionKey, User
from gateway.rules.not_before import is_record
from gateway.rules.sessions import due, touched
from gateway.stores.begun import Begun, Visit
from gateway.stores.cached import CachedSessions
from gateway.stores.held import Held
from gateway.stores.memory import MemoryStore
from gateway.stores.nowhere import Nowhere
from gateway.stores.presented import presented
from gateway.stores.protocol import SessionStore
from gateway.stores.sealed_keeper import SealedKeeper
from gateway.stores.sealed_sessions import SealedSessions
from tests.stores.contract import Clock

NAME = "gateway_session"
OLD, NEW = "an old secret of 32 characters!!", "a new secret of 32 characters!!!"
LIFETIME = Lifetime(max_age=1000.0, idle_timeout=100.0, update_age=10.0)
ADA = User(id="ada", provider="corp", name="Ada", roles=("admin", "editor"))
VISIT = Visit(device="Firefox", address="192.0.2.1")


class Process:
    """One gateway: what it remembers, and what it does to sessions."""

    def __init__(
        self,
        store: SessionStore | None,
        clock: Clock,
        *secrets: str,
        max_per_user: int | None = None,
        cache: bool = True,
    ) -> None:
        self.clock = clock
        self.store = store or Nowhere()
        self.marks: CachedSessions | None = None
        if store is not None:
            self.marks = CachedSessions(
                store, enabled=cache, lifetime=LIFETIME, wall=clock, clock=clock
            )
        ring = KeyRing(secrets or (NEW,), NAME)
        self.sessions = SealedSessions(
            self.store, self.marks, ring=ring, lifetime=LIFETIME, wall=clock
        )
        self.keeper = SealedKeeper(
            self.store,
            LIFETIME,
            ring=ring,
            cookie=NAME,
            sessions=self.sessions,
            max_per_user=max_per_user,
            wall=clock,
        )

    async def who(self, cookie: str) -> SealedSession | None:
        """Return whose cookie it is."""
        key = key_of(cookie)
        held = self.sessions.peek(key, self.clock()) or await self.sessions.get(key)
        return None if held is None else cast(SealedSession, held.session)

    async def request(self, cookie: str) -> tuple[SealedSession | None, str | None]:
        """Do with a cookie what a request does; return who asks, and the cookie of the answer."""
        session = await self.who(cookie)
        if session is not None and due(session, LIFETIME, now=self.clock()):
            session = cast(SealedSession, self.sessions.touch_soon(session).session)
        while session is not None and session.renewal is not None:
            begun = await self.keeper.renew(session)
            if begun is not None:
                return cast(SealedSession, begun.session), begun.token
            self.sessions.forget(key_of(cookie))
            session = await self.who(cookie)
        return session, None


def key_of(cookie: str) -> SessionKey:
    key = presented(NAME, split(NAME, cookie) or {})
    assert key is not None
    return key


@pytest.fixture(params=["with a store", "without"])
def store(request: pytest.FixtureRequest, clock: Clock) -> MemoryStore | None:
    return MemoryStore(wall=clock) if request.param == "with a store" else None


@pytest.fixture
def kept(clock: Clock) -> MemoryStore:
    return MemoryStore(wall=clock)


async def begin(process: Process, user: User = ADA, **more: Any) -> Begun:
    return await process.keeper.begin(user, VISIT, **more)


# --- opening ---------------------------------------------------------------------------------


async def test_every_process_with_the_secret_knows_whose_cookie_it_is(
    store: MemoryStore | None, clock: Clock
) -> None:
    begun = await begin(Process(store, clock))
    session = await Process(store, clock).who(begun.token)
    assert session is not None
    assert (session.user, session.id, session.expires_at) == (ADA, begun.session.id, clock() + 100)


async def test_a_known_cookie_is_opened_once(store: MemoryStore | None, clock: Clock) -> None:
    process = Process(store, clock)
    cookie = (await begin(process)).token
    first = await process.sessions.get(key_of(cookie))
    assert first is not None
    assert process.sessions.peek(key_of(cookie), clock()) is first


async def test_what_was_thrown_out_of_memory_is_opened_again(clock: Clock) -> None:
    process = Process(None, clock)
    process.sessions = SealedSessions(
        Nowhere(), None, ring=KeyRing([NEW], NAME), lifetime=LIFETIME, wall=clock, max_entries=4
    )
    cookies = [(await begin(process)).token for _ in range(20)]
    keys = [key_of(cookie) for cookie in cookies]
    for _ in range(2):
        assert all([await process.sessions.get(key) is not None for key in keys])
    assert len(process.sessions._young) + len(process.sessions._old) <= 4


@pytest.mark.parametrize(
    "cookies",
    [
        pytest.param({NAME: "A" * 200}, id="garbage"),
        pytest.param({NAME: ""}, id="empty"),
        pytest.param({f"{NAME}.0": "A" * 3000, f"{NAME}.1": "B" * 3000}, id="garbage in pieces"),
        pytest.param({NAME: "\xff" * 100}, id="no ASCII"),
    ],
)
async def test_garbage_is_no_session_and_asks_no_store(
    clock: Clock, cookies: dict[str, str]
) -> None:
    class Untouchable(MemoryStore):
        async def load(self, keys: object) -> list[Session | None]:
            raise AssertionError("nobody may ask")

    process = Process(Untouchable(wall=clock), clock)
    key = presented(NAME, cookies)
    assert key is None or await process.sessions.get(key) is None


async def test_after_another_secret_a_cookie_under_the_old_one_is_nothing(clock: Clock) -> None:
    process = Process(None, clock, NEW, OLD)
    cookie = (await begin(Process(None, clock, OLD))).token
    assert await process.who(cookie) is not None
    process.sessions.use(KeyRing([NEW], NAME))
    assert await process.who(cookie) is None


# --- life ------------------------------------------------------------------------------------


async def test_a_cookie_is_renewed_at_most_each_update_age(
    store: MemoryStore | None, clock: Clock
) -> None:
    process = Process(store, clock)
    cookie: str = (await begin(process)).token
    renewals = []
    for _ in range(50):
        session, given = await process.request(cookie)
        assert session is not None
        if given is not None:
            renewals.append(clock())
            cookie = given
        clock.now += 1.0
    assert len(renewals) == 4
    assert all(later - earlier >= 10.0 for earlier, later in pairwise(renewals))


async def test_of_many_requests_with_the_older_cookie_one_gets_the_newer(clock: Clock) -> None:
    process = Process(None, clock)
    cookie = (await begin(process)).token
    clock.now += 20.0
    answers = [await process.request(cookie) for _ in range(10)]
    assert len([given for _, given in answers if given is not None]) == 1
    assert all(session is not None for session, _ in answers)


async def test_who_takes_no_newer_cookie_keeps_nobody_else_from_it(clock: Clock) -> None:
    process = Process(None, clock)
    first = (await begin(process)).token
    clock.now += 20.0
    _, second = await process.request(first)
    assert second is not None
    clock.now += 20.0
    assert (await process.request(first))[1] is not None
    assert (await process.request(second))[1] is not None


async def test_the_store_hears_of_a_session_once_each_update_age(clock: Clock) -> None:
    class Counted(MemoryStore):
        touched = 0

        async def touch(self, session: Session) -> bool:
            self.touched += 1
            return await super().touch(session)

    store = Counted(wall=clock)
    process = Process(store, clock)
    cookie = (await begin(process)).token
    for _ in range(41):  # somebody who takes no newer cookie
        await process.request(cookie)
        await asyncio.sleep(0)
        clock.now += 1.0
    await process.sessions.close()
    assert store.touched == 4


async def test_who_lost_the_newer_cookie_on_the_way_gets_another_one(clock: Clock) -> None:
    process = Process(None, clock)
    cookie = (await begin(process)).token
    clock.now += 20.0
    await process.request(cookie)
    clock.now += 10.0
    assert (await process.request(cookie))[1] is not None


async def test_an_active_session_lives_until_max_age_and_an_idle_one_until_idle_timeout(
    store: MemoryStore | None, clock: Clock
) -> None:
    process = Process(store, clock)
    began = clock()
    idle = (await begin(process)).token
    active: str = idle
    while clock() < began + 999.0:
        session, given = await process.request(active)
        assert session is not None
        active = given or active
        clock.now += 7.0
        assert (await process.who(idle) is not None) is (clock() < began + 100.0)
    assert await process.who(active) is None


async def test_a_cookie_under_an_old_secret_is_sealed_under_the_new_one_at_its_renewal(
    clock: Clock,
) -> None:
    cookie = (await begin(Process(None, clock, OLD))).token
    process = Process(None, clock, NEW, OLD)
    clock.now += 20.0
    _, given = await process.request(cookie)
    assert given is not None
    assert await Process(None, clock, NEW).who(given) is not None


async def test_a_session_that_does_not_fit_is_refused_before_anything_is_kept(
    kept: MemoryStore, clock: Clock
) -> None:
    process = Process(kept, clock)
    many = tuple(f"role-number-{number}" for number in range(2000))
    with pytest.raises(SessionTooLarge, match=r"takes \d{5} characters, more than 4 cookies"):
        await begin(process, replace(ADA, roles=many))
    assert [session async for session in kept.all()] == []


async def test_a_visitors_data_goes_over_at_sign_in_and_a_users_does_not(
    store: MemoryStore | None, clock: Clock
) -> None:
    process = Process(store, clock)
    visitor = await process.keeper._create(ANONYMOUS, VISIT, data={"cart": [1]}, remembered=True)
    ada = await begin(process, presented=key_of(visitor.token))
    assert ada.session.data == {"cart": [1]}
    bob = await begin(process, User(id="bob"), presented=key_of(ada.token))
    assert bob.session.data == {}
    if store is not None:
        assert await process.who(visitor.token) is None
        assert await process.who(ada.token) is None


# --- with a store ----------------------------------------------------------------------------


async def two(kept: MemoryStore, clock: Clock) -> tuple[Process, Process, Begun, Begun]:
    """Return two processes which know two sessions of ada."""
    one, other = Process(kept, clock), Process(kept, clock)
    first, second = await begin(one), await begin(one)
    for process in (one, other):
        for begun in (first, second):
            assert await process.who(begun.token) is not None
    return one, other, first, second


async def test_a_session_that_was_ended_is_refused_by_every_process(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, second = await two(kept, clock)
    assert await one.keeper.end(key_of(first.token))
    assert [await process.who(first.token) for process in (one, other)] == [None, None]
    assert await other.who(second.token) is not None
    assert not await one.keeper.end(key_of(first.token))


async def test_an_older_cookie_of_an_ended_session_is_refused_as_well(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    clock.now += 20.0
    _, newer = await one.request(first.token)
    assert newer is not None
    await one.keeper.end(key_of(newer))
    assert await other.who(first.token) is None
    assert await other.who(newer) is None


async def test_by_its_public_id_a_session_is_found_and_revoked(
    kept: MemoryStore, clock: Clock
) -> None:
    _, other, first, second = await two(kept, clock)
    revoked = await other.keeper.revoke(first.session.id)
    assert revoked is not None
    assert (revoked.device, revoked.address) == ("Firefox", "192.0.2.1")
    assert await other.who(first.token) is None
    assert await other.who(second.token) is not None
    assert await other.keeper.revoke(first.session.id) is None


async def test_all_sessions_of_a_user_are_listed_and_ended(kept: MemoryStore, clock: Clock) -> None:
    one, other, first, second = await two(kept, clock)
    bob = await begin(one, User(id="bob"))
    listed = {session.id for session in await other.keeper.of_user("ada")}
    assert listed == {first.session.id, second.session.id}
    assert await other.keeper.revoke_user("ada") == 2
    assert [await one.who(begun.token) for begun in (first, second)] == [None, None]
    assert await one.who(bob.token) is not None
    assert await one.who((await begin(one)).token) is not None


async def test_all_but_one_are_ended(kept: MemoryStore, clock: Clock) -> None:
    one, other, first, second = await two(kept, clock)
    assert await other.keeper.revoke_user("ada", spare=second.session.id) == 1
    assert await one.who(first.token) is None
    assert await one.who(second.token) is not None
    assert await other.keeper.revoke_user("ada") == 1
    assert await one.who(second.token) is None


async def test_a_session_that_the_store_has_forgotten_ends_with_all_of_its_user(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    await kept.delete(first.session.key)
    assert await one.who(first.token) is not None
    await other.keeper.revoke_user("ada")
    assert await one.who(first.token) is None


async def test_a_store_that_has_lost_everything_signs_nobody_out(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    await kept.delete_many([session.key async for session in kept.all()])
    assert await one.who(first.token) is not None
    assert await Process(kept, clock).who(first.token) is not None
    await other.keeper.end(key_of(first.token))
    clock.now += 1.0  # that there was nothing is believed for a second
    assert await one.who(first.token) is None


async def test_other_roles_count_at_once_and_the_old_cookie_dies_when_the_new_one_is_given(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, second = await two(kept, clock)
    clock.now += 1.0
    changed = await other.keeper.set_roles("ada", ("viewer",))
    assert len(changed) == 2
    session, given = await one.request(first.token)
    assert session is not None
    assert given is not None
    assert session.user.roles == ("viewer",)
    assert session.id in {each.id for each in changed} - {first.session.id, second.session.id}
    for process in (one, other):
        assert await process.who(first.token) is None
        known = await process.who(given)
        assert known is not None
        assert (known.user.roles, known.id, known.renewal) == (("viewer",), session.id, None)
    assert {each.id for each in await other.keeper.of_user("ada")} == {each.id for each in changed}
    assert await other.keeper.revoke(session.id) is not None
    assert await one.who(given) is None


@pytest.mark.parametrize("seconds", [0.0, -5.0], ids=["the same clock", "one that is behind"])
async def test_of_two_changes_of_roles_the_later_one_counts_whatever_the_clocks_say(
    kept: MemoryStore, clock: Clock, seconds: float
) -> None:
    one, _, first, second = await two(kept, clock)
    behind = Clock()
    behind.now = clock.now + seconds
    other = Process(kept, behind)
    await other.keeper.set_roles("ada", ("viewer",))  # of sessions that began later, it seems
    for begun in (first, second):
        session = await one.who(begun.token)
        assert session is not None
        assert session.user.roles == ("viewer",)
    clock.now += 1.0
    await one.keeper.set_roles("ada", ("editor",))
    _, given = await one.request(first.token)
    assert given is not None
    behind.now = clock.now + seconds
    await other.keeper.set_roles("ada", ())
    for cookie in (given, second.token):
        session = await one.who(cookie)
        assert session is not None
        assert session.user.roles == ()


async def test_a_change_of_data_does_not_spare_the_old_cookie_what_other_roles_mean_for_it(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    clock.now += 1.0
    await other.keeper.set_roles("ada", ("admin", "editor", "owner"))
    session = await one.who(first.token)  # as on a route that asks nobody, and renews nothing
    assert session is not None

    async def to(now: Session) -> tuple[User, dict[str, object]]:
        return now.user, {"theme": "dark"}

    changed = await one.keeper.change(session, to)
    assert changed is not None
    assert changed.begun is not None
    for process in (one, other):
        assert await process.who(first.token) is None
        known = await process.who(changed.begun.token)
        assert known is not None
        assert known.data == {"theme": "dark"}


async def test_the_one_that_is_left_when_all_others_are_ended_lives_on_with_other_rights(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, _, second = await two(kept, clock)
    clock.now += 1.0
    await one.keeper.revoke_user("ada", spare=second.session.id)

    async def to(now: Session) -> tuple[User, dict[str, object]]:
        return replace(now.user, roles=()), {}

    session = await one.who(second.token)
    assert session is not None
    changed = await one.keeper.change(session, to)
    assert changed is not None
    assert changed.begun is not None
    assert await other.who(changed.begun.token) is not None
    assert await other.who(second.token) is None
    await one.keeper.revoke_user("ada")
    assert await other.who(changed.begun.token) is None


async def test_a_touch_that_comes_late_takes_nothing_from_what_is_known_against_a_session(
    kept: MemoryStore, clock: Clock
) -> None:
    one, _, first, _ = await two(kept, clock)
    await one.keeper.end(key_of(first.token))
    clock.now += 5.0
    await kept.touch(touched(first.session, LIFETIME, now=clock.now))  # by who has not heard of it
    [record] = await kept.load([first.session.key])
    assert record is not None
    assert record.expires_at == first.session.ends_at


async def test_the_same_roles_leave_the_old_cookie_as_it_is(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    clock.now += 1.0
    await other.keeper.set_roles("ada", ("editor", "admin"))
    session, given = await one.request(first.token)
    assert session is not None
    assert given is not None
    assert session.id != first.session.id
    for cookie in (first.token, given):
        known = await other.who(cookie)
        assert known is not None
        assert known.id == session.id


async def test_of_many_that_give_the_new_cookie_at_once_one_does(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    clock.now += 1.0
    await one.keeper.set_roles("ada", ())
    answers = await asyncio.gather(*((one, other)[n % 2].request(first.token) for n in range(20)))
    assert len([given for _, given in answers if given is not None]) == 1
    assert all(session is None or session.user.roles == () for session, _ in answers)


async def test_ending_an_old_cookie_ends_the_session_that_went_on_under_a_new_one(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    held = await one.sessions.get(key_of(first.token))
    assert held is not None
    await one.keeper.set_roles("ada", ())
    _, given = await other.request(first.token)
    assert given is not None
    await one.keeper._end(held.session)
    assert await other.who(given) is None


async def test_beyond_max_per_user_the_oldest_ends(kept: MemoryStore, clock: Clock) -> None:
    process = Process(kept, clock, max_per_user=2)
    cookies = []
    for _ in range(3):
        cookies.append((await begin(process)).token)
        clock.now += 1.0
    alive = [await process.who(cookie) is not None for cookie in cookies]
    assert alive == [False, True, True]


async def test_a_change_of_data_gets_a_new_cookie_and_one_of_rights_another_session(
    store: MemoryStore | None, clock: Clock
) -> None:
    process = Process(store, clock)
    begun = await begin(process)

    def to(user: User, data: dict[str, object]) -> Callable[[Session], Any]:
        async def changed(session: Session) -> tuple[User, dict[str, object]]:
            return user, data

        return changed

    same = await process.keeper.change(begun.session, to(ADA, {}))
    assert same is not None
    assert same.begun is None
    kept = await process.keeper.change(begun.session, to(ADA, {"theme": "dark"}))
    assert kept is not None
    assert kept.begun is not None
    known = await process.who(kept.begun.token)
    assert known is not None
    assert (known.data, known.id) == ({"theme": "dark"}, begun.session.id)
    less = await process.keeper.change(known, to(replace(ADA, roles=()), {}))
    assert less is not None
    assert less.begun is not None
    assert less.session.id != known.id
    if store is not None:
        assert await process.who(begun.token) is None


async def test_what_the_store_keeps_of_a_session_expires_with_its_cookies(
    kept: MemoryStore, clock: Clock
) -> None:
    process = Process(kept, clock)
    begun = await begin(process)
    clock.now += 20.0
    await process.request(begun.token)
    await process.sessions.close()
    [listed] = await process.keeper.of_user("ada")
    assert listed.expires_at == clock() + 100.0
    clock.now += 200.0
    assert await process.keeper.of_user("ada") == []


async def test_without_a_cache_every_request_asks_the_store(clock: Clock) -> None:
    class Counted(MemoryStore):
        asked = 0

        async def load(self, keys: Any) -> list[Session | None]:
            self.asked += 1
            return await super().load(keys)

    store = Counted(wall=clock)
    process = Process(store, clock, cache=False)
    cookie = (await begin(process)).token
    before = store.asked
    for _ in range(5):
        assert await process.who(cookie) is not None
    assert store.asked == before + 5


async def test_who_remembers_a_cookie_is_not_who_opened_it(clock: Clock) -> None:
    process = Process(None, clock)
    cookie = (await begin(process)).token
    await process.who(cookie)
    assert [type(key) for key in process.sessions._young] == [str]


async def test_records_of_what_was_ended_are_no_sessions(kept: MemoryStore, clock: Clock) -> None:
    process = Process(kept, clock)
    begun = await begin(process)
    await process.keeper.end(key_of(begun.token))
    assert await process.keeper.of_user("ada") == []
    assert [session async for session in kept.all() if not is_record(session)] == []
    assert len([session async for session in kept.all()]) == 2


async def test_a_cookie_is_not_kept_as_open_whose_secret_goes_while_the_store_is_asked(
    kept: MemoryStore, clock: Clock
) -> None:
    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__(wall=clock)
            self.gate = asyncio.Event()

        async def load(self, keys: Any) -> list[Session | None]:
            await self.gate.wait()
            return await super().load(keys)

    store = Slow()
    store.gate.set()
    process = Process(store, clock, OLD)
    cookie = (await begin(process)).token
    store.gate.clear()
    asked = asyncio.create_task(process.who(cookie))
    await asyncio.sleep(0.01)
    process.sessions.use(KeyRing([NEW], NAME))
    store.gate.set()
    await asked
    assert await process.who(cookie) is None


# --- a store that is out ---------------------------------------------------------------------


class Failing(MemoryStore):
    """A store that can go away."""

    out = False

    async def load(self, keys: Any) -> list[Session | None]:
        if self.out:
            raise StoreUnavailable("out")
        return await super().load(keys)

    def lose(self) -> None:
        self.out = True
        self._watchers.trust(False)


async def test_while_the_store_is_out_nobody_can_say_whether_a_session_was_ended(
    clock: Clock,
) -> None:
    store = Failing(wall=clock)
    process = Process(store, clock)
    cookie = (await begin(process)).token
    assert await process.who(cookie) is not None
    store.lose()
    with pytest.raises(StoreUnavailable):
        await process.who(cookie)


async def test_what_was_true_a_while_ago_passes_as_stale_where_that_is_wanted(clock: Clock) -> None:
    store = Failing(wall=clock)
    process = Process(store, clock)
    known, unknown = (await begin(process)).token, (await begin(process)).token
    assert await process.who(known) is not None
    store.lose()
    held = await process.sessions.get(key_of(known), stale_for=60.0)
    assert held is not None
    assert held.stale
    with pytest.raises(StoreUnavailable):
        await process.sessions.get(key_of(unknown), stale_for=60.0)


# --- what goes on ----------------------------------------------------------------------------


async def test_what_goes_on_follows_its_session(store: MemoryStore | None, clock: Clock) -> None:
    process = Process(store, clock)
    begun = await begin(process)
    clock.now += 90.0
    await process.request(begun.token)
    clock.now += 90.0
    assert await process.who(begun.token) is None
    held = await process.sessions.current(begun.session)
    assert held is not None
    assert held.session.expires_at == clock() + 10.0
    clock.now += 10.0
    assert await process.sessions.current(begun.session) is None


async def test_what_goes_on_follows_what_another_process_has_seen(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, _ = await two(kept, clock)
    clock.now += 90.0
    await other.request(first.token)
    await other.sessions.close()
    clock.now += 90.0
    assert await one.sessions.current(first.session) is not None


async def test_what_goes_on_ends_with_its_session_and_follows_other_roles(
    kept: MemoryStore, clock: Clock
) -> None:
    one, other, first, second = await two(kept, clock)
    clock.now += 1.0
    await other.keeper.set_roles("ada", ("viewer",))
    await other.request(first.token)
    for begun in (first, second):
        held = await one.sessions.current(begun.session)
        assert held is not None
        assert held.session.user.roles == ("viewer",)
    await other.keeper.revoke_user("ada")
    for begun in (first, second):
        assert await one.sessions.current(begun.session) is None


async def test_use_of_what_goes_on_moves_the_expiry_of_what_goes_on(
    store: MemoryStore | None, clock: Clock
) -> None:
    process = Process(store, clock)
    session = (await begin(process)).session
    for _ in range(3):
        clock.now += 60.0
        held = await process.sessions.current(session)
        assert held is not None
        session = process.sessions.slide(held.session)
    assert session.expires_at == clock() + 100.0


async def test_requests_with_one_session_go_to_one_target_however_its_cookie_changes(
    clock: Clock,
) -> None:
    process = Process(None, clock)
    cookie = (await begin(process)).token
    clock.now += 20.0
    _, newer = await process.request(cookie)
    assert newer is not None
    steady = {process.sessions.steady(key_of(text)) for text in (cookie, newer)}
    assert len(steady) == 1
    assert process.sessions.steady(key_of("A" * 200)) == ""


def test_the_key_of_a_cookie_tells_nothing_of_it() -> None:
    key = presented(NAME, {NAME: "sealed-text"})
    assert "sealed-text" not in repr(key) + str(key) + repr(Held)
