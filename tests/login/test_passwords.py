from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import CHEAPEST
from structlog.testing import capture_logs

from gateway.errors import SignInBusy
from gateway.login.passwords import LONGEST_PASSWORD, Passwords, decoy, plausible

CHEAP = PasswordHasher.from_parameters(CHEAPEST)
HASH = CHEAP.hash("wonderland")


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    pool = Passwords()
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        pytest.param("wonderland", True, id="right"),
        pytest.param("Wonderland", False, id="wrong"),
        pytest.param("wonderland ", False, id="spaces count"),
        pytest.param("", False, id="empty"),
        pytest.param("\ud800", False, id="half of a surrogate pair"),
        pytest.param("wonderland\x00", False, id="a zero byte"),
    ],
)
async def test_passwords(passwords: Passwords, password: str, expected: bool) -> None:
    assert await passwords.matches(HASH, password) is expected


async def test_passwords_are_utf_8(passwords: Passwords) -> None:
    assert await passwords.matches(CHEAP.hash("caf\u00e9 \U0001f511"), "caf\u00e9 \U0001f511")


async def test_the_longest_password_works_and_longer_ones_are_not_hashed(
    passwords: Passwords,
) -> None:
    longest = "\u00e9" * (LONGEST_PASSWORD // 2)
    assert await passwords.matches(CHEAP.hash(longest), longest)
    assert not await passwords.matches(CHEAP.hash(longest + "x"), longest + "x")
    assert plausible(longest)
    assert not plausible(longest + "x")
    assert not plausible("")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("", id="nothing"),
        pytest.param("wonderland", id="a password"),
        pytest.param("$argon2id$", id="a name alone"),
        pytest.param(HASH[:-1], id="one character short"),
        pytest.param(HASH[:40], id="cut"),
        pytest.param(HASH.replace("t=1", "t=0"), id="no rounds"),
        pytest.param(CHEAP.hash("wonderland").replace("argon2id", "argon2i"), id="argon2i"),
        pytest.param("$2b$12$abcdefghijklmnopqrstuv", id="bcrypt"),
        pytest.param("$argon2id$\u00e9", id="not ASCII"),
    ],
)
async def test_a_broken_hash_lets_nobody_in_and_is_logged(
    passwords: Passwords, broken: str
) -> None:
    with capture_logs() as lines:
        assert not await passwords.matches(broken, "wonderland")
    assert [line["event"] for line in lines] == ["password_hash_unreadable"]
    assert "wonderland" not in str(lines[0]["problem"])
    assert "$" not in str(lines[0]["problem"])


async def test_more_than_can_wait_are_refused_and_places_come_free(passwords: Passwords) -> None:
    slow = PasswordHasher(time_cost=4, memory_cost=8192, parallelism=1).hash("wonderland")
    outcomes = await asyncio.gather(
        *(passwords.matches(slow, "wonderland") for _ in range(40)), return_exceptions=True
    )
    assert outcomes.count(True) == 32
    assert sum(isinstance(outcome, SignInBusy) for outcome in outcomes) == 8
    assert await passwords.matches(slow, "wonderland")


async def test_a_client_that_leaves_gives_its_place_back_when_the_thread_is_free(
    passwords: Passwords,
) -> None:
    slow = PasswordHasher(time_cost=4, memory_cost=8192, parallelism=1).hash("wonderland")
    for _ in range(4):
        tasks = [asyncio.create_task(passwords.matches(slow, "x")) for _ in range(16)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await passwords.matches(slow, "wonderland")
            except SignInBusy:
                await asyncio.sleep(0.01)
            else:
                break


def test_the_decoy_costs_what_the_costliest_hash_costs() -> None:
    costly = PasswordHasher(time_cost=2, memory_cost=1024, parallelism=1).hash("x")
    for hashes in ([HASH, costly], [costly, HASH], [costly, "broken", HASH, "$argon2id$x"]):
        stands_in = extract_parameters(decoy(hashes))
        assert (stands_in.time_cost, stands_in.memory_cost) == (2, 1024)


async def test_nothing_matches_the_decoy(passwords: Passwords) -> None:
    for stand_in in (decoy([]), decoy([HASH])):
        with capture_logs() as lines:
            assert not await passwords.matches(stand_in, "wonderland")
        assert lines == []
