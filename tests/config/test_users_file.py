"""Who may sign in, as a users file says. What is refused, ``cases`` show with its message."""

from __future__ import annotations

import pytest

from gateway.config.users_file import UserEntry, load_users
from gateway.errors import ConfigError

HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$UDN1Gbnoyjugqqb6SCpbWw$ayqELhAyAuVWW3o1YLCDvhCLFy9pD0wM/rEzxKM"
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            f"users: {{alice: {{password: {HASH}, name: Alice, roles: [admin]}}}}", id="flow"
        ),
        pytest.param(
            f"users:\n  alice:\n    password: {HASH}\n    name: Alice\n    roles: [admin]",
            id="block",
        ),
        pytest.param(
            f"users: {{alice: {{password: '{HASH}', name: Alice, roles: [admin]}}}}", id="quoted"
        ),
    ],
)
def test_a_user(text: str) -> None:
    assert load_users(text, "users.yaml") == {
        "alice": UserEntry(id="alice", password_hash=HASH, name="Alice", roles=("admin",))
    }


def test_a_user_may_be_disabled_and_have_little() -> None:
    users = load_users(f"users: {{7: {{password: '{HASH}', disabled: true}}}}", "users.yaml")

    assert users == {"7": UserEntry(id="7", password_hash=HASH, disabled=True)}


@pytest.mark.parametrize("text", ["users:\n", "users: {}\n"])
def test_nobody_is_fine(text: str) -> None:
    assert load_users(text, "users.yaml") == {}


@pytest.mark.parametrize(
    "password",
    [
        "hunter2",
        "$2b$12$abcdefghijklmnopqrstuv",
        HASH.replace("argon2id", "argon2i"),
        HASH.replace("v=19", "v=16"),
        HASH.replace("m=65536", "m=99999999"),
        f"{HASH} ",
        HASH.rpartition("$")[0],
        "",
    ],
)
def test_only_argon2id_is_a_password_and_none_is_shown(password: str) -> None:
    with pytest.raises(ConfigError, match="expected an argon2id hash") as caught:
        load_users(f"users: {{alice: {{password: '{password}'}}}}", "users.yaml")

    assert not password or password not in str(caught.value)


def test_the_environment_is_not_asked() -> None:
    users = load_users(f"users: {{a: {{password: '{HASH}', name: '${{HOME}}'}}}}", "users.yaml")

    assert users["a"].name == "${HOME}"


def test_a_hash_is_in_no_repr() -> None:
    users = load_users(f"users: {{a: {{password: '{HASH}'}}}}", "users.yaml")

    assert "argon2" not in repr(users)
