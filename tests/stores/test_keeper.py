from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.formats.token import key_of, key_of_any
from gateway.model import Renewal, Session, SessionId, SessionKey, Token, User
from gateway.rules.sessions import GRACE
from gateway.stores.begun import Begun, Changed, Visit
from gateway.stores.keeper import Keeper
from gateway.stores.memory import MemoryStore
from gateway.stores.postgres import PostgresStore
from gateway.stores.protocol import SessionStore
from gateway.stores.redis import RedisStore
from gateway.stores.sqlite import SqliteStore
from tests.servers import PostgresServer, RedisServer
from tests.stores.contract import LIFETIME, Clock

ADA = User(id="ada", roles=("editor", "admin"))
GRACE_HOPPER = User(id="grace", roles=("editor",))
HERE = Visit(device="Mozilla/5.0", address="203.0.113.7")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[SessionStore]:
    store: SessionStore
    match request.param:
        case "memory":
            store = MemoryStore(wall=clock)
        case "sqlite":
            store = SqliteStore(str(tmp_path / "sessions.db"), timeout=5.0, wall=clock)
        case "redis":
            server: RedisServer = request.getfixturevalue("redis")
            server.command("FLUSHALL")
            store = RedisStore(server.url, timeout=5.0, wall=clock)
        case _:
            database: PostgresServer = request.getfixturevalue("postgres")
            store = PostgresStore(database.url, timeout=5.0, wall=clock)
    await store.open()
    if request.param == "postgres":
        await store.delete_many([session.key async for session in store.all()])
    yield store
    await store.close()


@pytest.fixture
def keeper(store: SessionStore, clock: Clock) -> Keeper:
    return Keeper(store, LIFETIME, wall=clock)


async def opened(store: SessionStore, begun: Begun) -> Session | None:
    """Return what the token opens."""
    key = key_of(begun.token)
    assert key is not None
    [session] = await store.load([key])
    return session


async def alive(store: SessionStore, *several: Begun) -> list[bool]:
    return [await opened(store, begun) is not None for begun in several]


# --- signing in ------------------------------------------------------------------------------


async def test_who_signs_in_gets_a_session_that_says_from_where(
    store: SessionStore, keeper: Keeper, clock: Clock
) -> None:
    begun = await keeper.begin(ADA, HERE, remembered=False)
    session = await opened(store, begun)
    assert session == begun.session
    assert (session.user, session.device, session.address) == (ADA, "Mozilla/5.0", "203.0.113.7")
    assert (session.created_at, session.remembered) == (clock.now, False)


async def test_a_token_is_in_no_representation(keeper: Keeper) -> None:
    begun = await keeper.begin(ADA, HERE)
    assert begun.token not in repr(begun)


async def test_a_presented_session_ends_at_sign_in_and_is_never_promoted(
    store: SessionStore, keeper: Keeper
) -> None:
    planted = await keeper.begin(GRACE_HOPPER, HERE, data={"cart": ["poison"]})
    begun = await keeper.begin(ADA, HERE, presented=planted.session.key)
    assert begun.token != planted.token
    assert begun.session.id != planted.session.id
    assert begun.session.data == {}
    assert await alive(store, planted, begun) == [False, True]


async def test_a_visitors_data_goes_over_to_the_new_session_and_the_old_token_dies(
    store: SessionStore, keeper: Keeper
) -> None:
    visitor = await keeper.visit(HERE)
    await store.update(replace(visitor.session, data={"cart": [1, 2]}))
    begun = await keeper.begin(ADA, HERE, presented=visitor.session.key, data={"seen": True})
    assert visitor.session.anonymous
    assert begun.session.data == {"cart": [1, 2], "seen": True}
    assert begun.session.id != visitor.session.id
    assert await alive(store, visitor, begun) == [False, True]


async def test_a_presented_key_that_is_nothing_changes_nothing(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE, presented=SessionKey("a" * 64))
    assert await alive(store, begun) == [True]


async def test_of_more_sessions_than_a_user_may_have_the_oldest_goes(
    store: SessionStore, clock: Clock
) -> None:
    keeper = Keeper(store, LIFETIME, max_per_user=2, wall=clock)
    other = await keeper.begin(GRACE_HOPPER, HERE)
    namesake = await keeper.begin(User(id="ada", provider="corp"), HERE)
    several = []
    for _ in range(4):
        clock.now += 1
        several.append(await keeper.begin(ADA, HERE))
    assert await alive(store, *several) == [False, False, True, True]
    assert await alive(store, other, namesake) == [True, True]


async def test_of_many_who_sign_in_at_once_as_many_stay_as_may(
    store: SessionStore, clock: Clock
) -> None:
    keeper = Keeper(store, LIFETIME, max_per_user=3, wall=clock)
    several = await asyncio.gather(*(keeper.begin(ADA, HERE) for _ in range(12)))
    assert sum(await alive(store, *several)) == 3


async def test_an_operators_generator_makes_the_tokens(store: SessionStore, clock: Clock) -> None:
    tokens = iter([Token("first-token-of-ours"), Token("second-token-of-ours")])
    keeper = Keeper(store, LIFETIME, new_token=lambda: next(tokens), wall=clock)
    begun = await keeper.begin(ADA, HERE)
    assert begun.token == "first-token-of-ours"
    assert begun.session.key == key_of_any("first-token-of-ours")


async def test_what_an_operators_generator_must_not_make_signs_nobody_in(
    store: SessionStore, clock: Clock
) -> None:
    keeper = Keeper(store, LIFETIME, new_token=lambda: "short", wall=clock)
    with pytest.raises(ValueError, match="16 to 512"):
        await keeper.begin(ADA, HERE)
    assert [session async for session in store.all()] == []


# --- renewal ---------------------------------------------------------------------------------


async def test_the_same_roles_renew_the_token_with_a_grace_for_the_old_one(
    store: SessionStore, keeper: Keeper, clock: Clock
) -> None:
    old = await keeper.begin(ADA, HERE)
    [waiting] = await keeper.set_roles("ada", ("admin", "editor"))
    assert waiting.id != old.session.id
    assert waiting.renewal is Renewal.WITH_GRACE
    new = await keeper.renew(waiting)
    assert new is not None
    left = await opened(store, old)
    assert left is not None
    assert (left.user, left.renewal) == (waiting.user, None)
    assert [session.id for session in await keeper.of_user("ada")] == [waiting.id]
    clock.now += GRACE
    assert await alive(store, old, new) == [False, True]


@pytest.mark.parametrize(
    "roles",
    [
        pytest.param(("editor",), id="one is lost"),
        pytest.param((), id="all are lost"),
        pytest.param(("editor", "admin", "boss"), id="one is gained"),
    ],
)
async def test_other_roles_count_at_once_and_the_old_token_dies_when_the_new_one_is_given(
    store: SessionStore, keeper: Keeper, roles: tuple[str, ...]
) -> None:
    old = await keeper.begin(ADA, HERE)
    await keeper.set_roles("ada", roles)
    waiting = await opened(store, old)
    assert waiting is not None
    assert (waiting.user.roles, waiting.renewal) == (roles, Renewal.AT_ONCE)
    new = await keeper.renew(waiting)
    assert new is not None
    assert new.session.user.roles == roles
    assert await alive(store, old, new) == [False, True]


async def test_a_role_is_lost_in_the_grace_of_an_old_token_too(
    store: SessionStore, keeper: Keeper
) -> None:
    old = await keeper.begin(ADA, HERE)
    [waiting] = await keeper.set_roles("ada", ADA.roles)
    new = await keeper.renew(waiting)
    assert new is not None
    assert await alive(store, old, new) == [True, True]
    await keeper.set_roles("ada", ("editor",))
    assert await opened(store, old) is None
    session = await opened(store, new)
    assert session is not None
    assert session.user.roles == ("editor",)


async def test_of_many_who_renew_at_once_one_gets_the_new_token(
    store: SessionStore, keeper: Keeper
) -> None:
    await keeper.begin(ADA, HERE)
    [waiting] = await keeper.set_roles("ada", ADA.roles)
    given = await asyncio.gather(*(keeper.renew(waiting) for _ in range(50)))
    assert sum(begun is not None for begun in given) == 1
    assert len(await keeper.of_user("ada")) == 1


async def changed(
    keeper: Keeper, session: Session, user: User, data: Mapping[str, Any]
) -> Changed | None:
    async def to(_: Session) -> tuple[User, Mapping[str, Any]]:
        return user, data

    return await keeper.change(session, to)


async def test_data_and_name_change_and_the_token_stays(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE, data={"cart": [1]})
    user = replace(ADA, name="Ada L.", roles=("admin", "editor"))
    done = await changed(keeper, begun.session, user, {"cart": []})
    assert done == Changed(session=replace(begun.session, user=user, data={"cart": []}))
    assert await opened(store, begun) == done.session


@pytest.mark.parametrize(
    "user",
    [
        replace(ADA, roles=("editor",)),
        replace(ADA, roles=("editor", "admin", "pilot")),
        replace(ADA, permissions=("reports:read",)),
    ],
    ids=["a role less", "a role more", "a permission more"],
)
async def test_other_rights_bring_a_new_token_and_id_at_once(
    store: SessionStore, keeper: Keeper, user: User
) -> None:
    begun = await keeper.begin(ADA, HERE, data={"cart": [1]})
    done = await changed(keeper, begun.session, user, {"cart": [2]})
    assert done is not None
    assert done.begun is not None
    assert await opened(store, begun) is None
    assert await opened(store, done.begun) == done.session
    assert (done.session.user, done.session.data) == (user, {"cart": [2]})
    assert done.session.id != begun.session.id
    assert done.session.ends_at == begun.session.ends_at
    assert [one.id for one in await keeper.of_user("ada")] == [done.session.id]


async def test_rights_are_lost_in_the_grace_of_an_old_token_too(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE)
    [same] = await keeper.set_roles("ada", ADA.roles)
    second = await keeper.renew(same)
    assert second is not None
    assert await alive(store, begun, second) == [True, True]
    # Asked with what the old token still opens: what counts is where the session is now.
    old = await opened(store, begun)
    assert old is not None
    done = await changed(keeper, old, replace(ADA, roles=()), {})
    assert done is not None
    assert done.begun is not None
    assert await alive(store, begun, second, done.begun) == [False, False, True]


class ReadOnly(MemoryStore):
    """Fails whoever writes a session again."""

    async def update(self, session: Session) -> bool:
        raise StoreUnavailable("read only")

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        raise StoreUnavailable("read only")


async def test_what_changes_nothing_writes_nothing(clock: Clock) -> None:
    keeper = Keeper(ReadOnly(wall=clock), LIFETIME, wall=clock)
    begun = await keeper.begin(ADA, HERE, data={"cart": [1]})
    assert await changed(keeper, begun.session, ADA, {"cart": [1]}) == Changed(
        session=begun.session
    )
    with pytest.raises(StoreUnavailable):
        await changed(keeper, begun.session, ADA, {"cart": [2]})


async def test_a_session_that_has_ended_is_not_brought_back_by_a_change(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE)
    await keeper.end(begun.session.key)
    for user in ADA, replace(ADA, roles=()):
        assert await changed(keeper, begun.session, user, {"a": 1}) is None
    assert await alive(store, begun) == [False]
    assert await keeper.of_user("ada") == []


async def test_a_session_that_ends_while_it_is_changed_stays_ended(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE)

    async def to(now: Session) -> tuple[User, Mapping[str, Any]]:
        await keeper.end(now.key)
        return replace(ADA, name="Ada L."), {}

    assert await keeper.change(begun.session, to) is None
    assert await keeper.of_user("ada") == []


async def test_a_change_never_gives_back_a_right_that_was_taken_meanwhile(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE)

    async def to(now: Session) -> tuple[User, Mapping[str, Any]]:
        if now.user.roles:
            await keeper.set_roles("ada", ())
        return now.user, {"cart": [1]}

    done = await keeper.change(begun.session, to)
    assert done is not None
    assert (done.session.user.roles, done.session.data) == ((), {"cart": [1]})
    assert [one.user.roles for one in await keeper.of_user("ada")] == [()]


async def test_of_many_changes_in_one_process_none_is_lost(
    store: SessionStore, keeper: Keeper
) -> None:
    begun = await keeper.begin(ADA, HERE)

    def adding(name: str) -> Callable[[Session], Awaitable[tuple[User, Mapping[str, Any]]]]:
        async def to(now: Session) -> tuple[User, Mapping[str, Any]]:
            await asyncio.sleep(0)
            roles = (*now.user.roles, name) if name == "7" else now.user.roles
            return replace(now.user, roles=roles), {**now.data, name: True}

        return to

    await asyncio.gather(*(keeper.change(begun.session, adding(str(n))) for n in range(10)))
    [session] = await keeper.of_user("ada")
    assert session.data == {str(number): True for number in range(10)}
    assert session.user.roles == ("editor", "admin", "7")


async def test_a_session_may_be_shorter_than_configured_and_never_longer(
    store: SessionStore, keeper: Keeper, clock: Clock
) -> None:
    for asked, given in ((5.0, 5.0), (LIFETIME.max_age * 2, LIFETIME.max_age)):
        begun = await keeper.begin(ADA, HERE, max_age=asked)
        assert begun.session.ends_at == clock.now + given
        assert begun.session.expires_at <= begun.session.ends_at


async def test_roles_of_nobody_else_change(store: SessionStore, keeper: Keeper) -> None:
    other = await keeper.begin(GRACE_HOPPER, HERE)
    corp = await keeper.begin(User(id="ada", provider="corp", roles=("x",)), HERE)
    here = [await keeper.begin(ADA, HERE) for _ in range(3)]
    changed = await keeper.set_roles("ada", ("viewer",), provider="local")
    assert len(changed) == 3
    assert await opened(store, other) == other.session
    assert await opened(store, corp) == corp.session
    for begun in here:
        session = await opened(store, begun)
        assert session is not None
        assert session.user.roles == ("viewer",)


# --- the end ---------------------------------------------------------------------------------


async def test_signing_out_ends_a_session(store: SessionStore, keeper: Keeper) -> None:
    begun, stays = await keeper.begin(ADA, HERE), await keeper.begin(ADA, HERE)
    assert await keeper.end(begun.session.key) is True
    assert await keeper.end(begun.session.key) is False
    assert await alive(store, begun, stays) == [False, True]


@pytest.mark.parametrize("token", ["the oldest", "the old", "the new"])
@pytest.mark.parametrize("how", ["sign-out", "revoke", "revoke all"])
async def test_every_token_of_a_session_dies_with_it_whichever_ends_it(
    store: SessionStore, keeper: Keeper, token: str, how: str
) -> None:
    oldest = await keeper.begin(ADA, HERE)
    tokens = {"the oldest": oldest}
    for name in ("the old", "the new"):
        [waiting] = await keeper.set_roles("ada", ADA.roles)
        begun = await keeper.renew(waiting)
        assert begun is not None
        tokens[name] = begun
    assert await alive(store, *tokens.values()) == [True, True, True]
    session = await opened(store, tokens[token])
    assert session is not None
    match how:
        case "sign-out":
            assert await keeper.end(session.key) is True
        case "revoke":
            assert await keeper.revoke(tokens["the new"].session.id) is not None
        case _:
            assert await keeper.revoke_user("ada") == 1
    assert await alive(store, *tokens.values()) == [False, False, False]
    assert await keeper.of_user("ada") == []


async def test_one_of_a_users_sessions_is_revoked(store: SessionStore, keeper: Keeper) -> None:
    gone, stays = await keeper.begin(ADA, HERE), await keeper.begin(ADA, HERE)
    assert await keeper.revoke(gone.session.id) == gone.session
    assert await keeper.revoke(gone.session.id) is None
    assert await keeper.revoke(SessionId("nobody's")) is None
    assert await alive(store, gone, stays) == [False, True]


async def test_all_but_one_of_a_users_sessions_are_revoked(
    store: SessionStore, keeper: Keeper
) -> None:
    other = await keeper.begin(GRACE_HOPPER, HERE)
    corp = await keeper.begin(User(id="ada", provider="corp"), HERE)
    one, two, this = [await keeper.begin(ADA, HERE) for _ in range(3)]
    revoked = await keeper.revoke_user("ada", provider="local", spare=this.session.id)
    assert revoked == 2
    assert await alive(store, one, two, this) == [False, False, True]
    assert await alive(store, other, corp) == [True, True]
    assert await keeper.revoke_user("ada") == 2
    assert await alive(store, this, corp, other) == [False, False, True]


class RenewedInBetween:
    """A store in which a session's token is renewed just before it is deleted."""

    def __init__(self, store: SessionStore, keeper: Keeper) -> None:
        self._store = store
        self._keeper = keeper
        self.renewed: Begun | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        if self.renewed is None:
            [waiting] = await self._keeper.of_user("ada")
            self.renewed = await self._keeper.renew(waiting)
        return await self._store.delete_many(keys)


@pytest.mark.parametrize("how", ["sign-out", "revoke", "revoke all"])
async def test_a_session_that_is_renewed_at_the_same_moment_ends_all_the_same(
    store: SessionStore, keeper: Keeper, clock: Clock, how: str
) -> None:
    begun = await keeper.begin(ADA, HERE)
    [waiting] = await keeper.set_roles("ada", ADA.roles)
    racing = RenewedInBetween(store, keeper)
    ending = Keeper(racing, LIFETIME, wall=clock)  # type: ignore[arg-type]
    match how:
        case "sign-out":
            await ending.end(begun.session.key)
        case "revoke":
            await ending.revoke(waiting.id)
        case _:
            await ending.revoke_user("ada")
    assert racing.renewed is not None
    assert await alive(store, begun, racing.renewed) == [False, False]


class OtherRightsInBetween(RenewedInBetween):
    """A store in which a session gets other rights, id and token just before it is deleted."""

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        if self.renewed is None:
            [session] = await self._keeper.of_user("ada")
            done = await changed(self._keeper, session, replace(ADA, roles=("owner",)), {})
            assert done is not None
            self.renewed = done.begun
        return await self._store.delete_many(keys)


@pytest.mark.parametrize("renewed_before", [False, True])
@pytest.mark.parametrize("how", ["sign-out", "revoke", "revoke all"])
async def test_a_session_that_gets_other_rights_at_the_same_moment_ends_all_the_same(
    store: SessionStore, keeper: Keeper, clock: Clock, how: str, renewed_before: bool
) -> None:
    begun = await keeper.begin(ADA, HERE)
    if renewed_before:  # so that the old token still answers
        [waiting] = await keeper.set_roles("ada", ADA.roles)
        again = await keeper.renew(waiting)
        assert again is not None
        begun = again
    racing = OtherRightsInBetween(store, keeper)
    ending = Keeper(racing, LIFETIME, wall=clock)  # type: ignore[arg-type]
    match how:
        case "sign-out":
            await ending.end(begun.session.key)
        case "revoke":
            await ending.revoke(begun.session.id)
        case _:
            await ending.revoke_user("ada")
    assert racing.renewed is not None
    assert await alive(store, begun, racing.renewed) == [False, False]


async def test_a_change_of_roles_reaches_a_session_that_is_renewed_at_the_same_moment(
    store: SessionStore, keeper: Keeper
) -> None:
    await keeper.begin(ADA, HERE)
    [waiting] = await keeper.set_roles("ada", ADA.roles)
    changes = (keeper.set_roles("ada", ("viewer",)) for _ in range(3))
    await asyncio.gather(keeper.renew(waiting), *changes)
    [session] = await keeper.of_user("ada")
    assert session.user.roles == ("viewer",)
