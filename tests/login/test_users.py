from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from structlog.testing import capture_logs

from gateway.errors import BadCredentials, ConfigError, Problem, SignInBusy, TooManyAttempts
from gateway.login.passwords import Passwords
from gateway.login.users import UserEntry, UsersFile
from gateway.model import User

HASHES = {
    password: PasswordHasher.from_parameters(CHEAPEST).hash(password)
    for password in ("wonderland", "builder", "new secret")
}


@dataclass(frozen=True)
class Entry:
    id: str
    password_hash: str
    name: str | None = None
    email: str | None = None
    roles: tuple[str, ...] = ()
    disabled: bool = False


def load(text: str, file: str) -> Mapping[str, UserEntry]:
    """Stands for the loader of the configuration: users as JSON."""
    try:
        people = json.loads(text)
    except ValueError as error:
        raise ConfigError([Problem(file, 1, 1, "", "broken")]) from error
    return {
        name: Entry(**{**person, "id": name, "roles": tuple(person.get("roles", ()))})
        for name, person in people.items()
    }


PEOPLE: dict[str, dict[str, object]] = {
    "alice": {
        "password_hash": HASHES["wonderland"],
        "name": "Alice",
        "email": "alice@example.com",
        "roles": ["admin", "user"],
    },
    "bob": {"password_hash": HASHES["builder"]},
    "carol": {"password_hash": HASHES["builder"], "disabled": True},
    "dave": {"password_hash": "$argon2id$broken"},
}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    pool = Passwords()
    yield pool
    pool.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(json.dumps(PEOPLE))
    return path


@pytest.fixture
def users(file: Path, passwords: Passwords, clock: Clock) -> UsersFile:
    people = UsersFile(provider="staff", file=file, load=load, passwords=passwords, clock=clock)
    people.open()
    return people


async def test_a_user_comes_as_the_file_describes_them(users: UsersFile) -> None:
    assert await users.authenticate("alice", "wonderland") == User(
        id="alice",
        provider="staff",
        name="Alice",
        email="alice@example.com",
        roles=("admin", "user"),
    )
    assert await users.authenticate("bob", "builder") == User(id="bob", provider="staff")


@pytest.mark.parametrize(
    ("user_id", "password"),
    [
        pytest.param("alice", "builder", id="wrong password"),
        pytest.param("alice", "", id="empty password"),
        pytest.param("alice", "x" * 1025, id="a password beyond all bounds"),
        pytest.param("Alice", "wonderland", id="ids have case"),
        pytest.param("nobody", "wonderland", id="unknown user"),
        pytest.param("", "wonderland", id="no user"),
        pytest.param("a" * 100_000, "wonderland", id="an id beyond all bounds"),
        pytest.param("carol", "builder", id="disabled"),
        pytest.param("dave", "builder", id="broken hash"),
    ],
)
async def test_everybody_else_is_refused_alike(
    users: UsersFile, user_id: str, password: str
) -> None:
    with pytest.raises(BadCredentials):
        await users.authenticate(user_id, password)


class Counting(Passwords):
    """Counts the hashes it checks, by their parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: list[str] = []

    async def matches(self, password_hash: str, password: str) -> bool:
        self.checked.append(password_hash.split("$")[3])
        return await super().matches(password_hash, password)


@pytest.mark.parametrize("user_id", ["alice", "nobody", "carol"])
async def test_every_refusal_costs_one_check_of_the_same_price(file: Path, user_id: str) -> None:
    counting = Counting()
    users = UsersFile(provider="staff", file=file, load=load, passwords=counting, clock=lambda: 0.0)
    users.open()
    with pytest.raises(BadCredentials):
        await users.authenticate(user_id, "wrong")
    assert counting.checked == [HASHES["wonderland"].split("$")[3]]
    counting.close()


async def test_a_changed_file_counts_from_the_next_sign_in(users: UsersFile, file: Path) -> None:
    people = {"alice": PEOPLE["alice"] | {"password_hash": HASHES["new secret"]}}
    file.write_text(json.dumps(people))
    assert (await users.authenticate("alice", "new secret")).id == "alice"
    with pytest.raises(BadCredentials):
        await users.authenticate("alice", "wonderland")
    with pytest.raises(BadCredentials):
        await users.authenticate("bob", "builder")


async def test_a_file_put_in_its_place_is_seen_with_equal_size_and_time(
    users: UsersFile, file: Path
) -> None:
    before = file.stat()
    other = file.with_name("other")
    other.write_text(file.read_text().replace("Alice", "ALICE"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert (await users.authenticate("alice", "wonderland")).name == "ALICE"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"{", id="not a users file"),
        pytest.param(b"\xff$argon2id$", id="not UTF-8"),
        pytest.param(None, id="gone"),
    ],
)
async def test_a_broken_file_changes_nothing_and_is_logged_once(
    users: UsersFile, file: Path, broken: bytes | None
) -> None:
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    with capture_logs() as lines:
        for _ in range(3):
            assert (await users.authenticate("alice", "wonderland")).id == "alice"
            with pytest.raises(BadCredentials):
                await users.authenticate("alice", "builder")
    assert [line["event"] for line in lines] == ["users_file_refused"]
    assert "argon2" not in str(lines)

    file.write_text(json.dumps({"bob": PEOPLE["bob"]}))
    assert (await users.authenticate("bob", "builder")).id == "bob"
    with pytest.raises(BadCredentials):
        await users.authenticate("alice", "wonderland")


def test_at_the_start_a_broken_file_is_an_error(file: Path, passwords: Passwords) -> None:
    file.write_text("{")
    users = UsersFile(
        provider="staff", file=file, load=load, passwords=passwords, clock=lambda: 0.0
    )
    with pytest.raises(ConfigError):
        users.open()
    file.unlink()
    with pytest.raises(FileNotFoundError):
        users.open()


async def test_guessing_is_slowed_down(users: UsersFile, clock: Clock) -> None:
    for _ in range(5):
        with pytest.raises(BadCredentials):
            await users.authenticate("alice", "wrong", "192.0.2.1")
    with pytest.raises(TooManyAttempts) as caught:
        await users.authenticate("alice", "wonderland", "192.0.2.1")
    assert caught.value.retry_after == 2.0
    assert (await users.authenticate("alice", "wonderland", "192.0.2.2")).id == "alice"
    clock.now = 2.0
    assert (await users.authenticate("alice", "wonderland", "192.0.2.1")).id == "alice"
    assert (await users.authenticate("alice", "wonderland", "192.0.2.1")).id == "alice"


async def test_users_that_do_not_exist_are_slowed_down_too(users: UsersFile) -> None:
    for _ in range(5):
        with pytest.raises(BadCredentials):
            await users.authenticate("nobody", "wrong")
    with pytest.raises(TooManyAttempts):
        await users.authenticate("nobody", "wrong")


async def test_being_turned_away_for_lack_of_room_is_no_failure(users: UsersFile) -> None:
    crowd = [asyncio.create_task(users.authenticate(f"user{n}", "wrong")) for n in range(32)]
    await asyncio.sleep(0)
    busy = 0
    for _ in range(20):
        try:
            await users.authenticate("alice", "wonderland")
        except SignInBusy:
            busy += 1
    await asyncio.gather(*crowd, return_exceptions=True)
    assert busy > 0
    assert (await users.authenticate("alice", "wonderland")).id == "alice"


async def test_ids_get_the_prefix_of_their_provider(
    file: Path, passwords: Passwords, clock: Clock
) -> None:
    people = UsersFile(
        provider="staff", file=file, load=load, passwords=passwords, clock=clock, id_prefix="s:"
    )
    people.open()
    assert (await people.authenticate("alice", "wonderland")).id == "s:alice"


async def test_nobody_signs_in_with_an_id_that_could_be_anothers(
    file: Path, passwords: Passwords, clock: Clock
) -> None:
    people = UsersFile(
        provider="staff", file=file, load=load, passwords=passwords, clock=clock, reserved=("al",)
    )
    people.open()
    with capture_logs() as logs, pytest.raises(BadCredentials):
        await people.authenticate("alice", "wonderland")
    assert [line["event"] for line in logs] == ["user_refused"]
