from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidSessionControl
from gateway.model import ANONYMOUS, User
from gateway.rules.session_control import (
    LARGEST_SESSION,
    LARGEST_USER,
    LONGEST_FIELD,
    Command,
    Create,
    Destroy,
    Update,
    patched,
    read,
)

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
SECRET = "whispered-to-nobody-else"
ADA = User(
    id="ada",
    provider="local",
    name="Ada",
    email="ada@example.com",
    roles=("editor",),
    permissions=("read",),
)


def understood(*lines: bytes) -> Command:
    return read(lines, provider="upstream:app", max_age=100.0, now=NOW)


def create(**session: Any) -> Command:
    return understood(b"X-Session-Create: " + json.dumps(session).encode())


def user(**more: Any) -> dict[str, Any]:
    return {"id": "ada", **more}


# --- create ----------------------------------------------------------------------------------


def test_a_user_is_signed_in_as_described() -> None:
    described = user(
        name="Ada L.",
        email="ada@example.com",
        image="/ada.png",
        roles=["editor", "admin", "editor"],
        permissions=["reports:read"],
    )

    assert create(user=described, data={"cart": [1]}, remember=False, max_age=60) == Create(
        user=User(
            id="ada",
            provider="upstream:app",
            name="Ada L.",
            email="ada@example.com",
            image="/ada.png",
            roles=("editor", "admin"),
            permissions=("reports:read",),
        ),
        data={"cart": [1]},
        remember=False,
        max_age=60.0,
    )


def test_an_id_is_enough() -> None:
    assert create(user=user()) == Create(
        user=User(id="ada", provider="upstream:app"), data={}, remember=None, max_age=None
    )


@pytest.mark.parametrize(
    ("expires", "max_age"),
    [
        ("2027-01-15T08:00:30.500Z", 30.5),
        ("2027-01-15T10:00:30+02:00", 30.0),
        ("2099-01-01T00:00:00Z", 100.0),
        (None, None),
    ],
)
def test_a_session_may_say_when_it_ends_and_cannot_live_longer_than_configured(
    expires: str | None, max_age: float | None
) -> None:
    created = create(user=user(), expires=expires)

    assert isinstance(created, Create)
    assert created.max_age == max_age


def test_text_is_utf_8_or_escaped() -> None:
    for value in ('{"user":{"id":"zoë"}}', '{"user":{"id":"zo\\u00eb"}}'):
        created = understood(b"x-session-create:" + value.encode())
        assert isinstance(created, Create)
        assert created.user.id == "zoë"


@pytest.mark.parametrize(
    "session",
    [
        pytest.param({}, id="no user"),
        pytest.param({"user": None}, id="null"),
        pytest.param({"user": {}}, id="no id"),
        pytest.param({"user": user(id="")}, id="an empty id"),
        pytest.param({"user": user(id=7)}, id="a number for an id"),
        pytest.param({"user": user(id=" ada")}, id="a space in front of the id"),
        pytest.param({"user": user(id="a\nb")}, id="a control character in the id"),
        pytest.param({"user": user(role="admin")}, id="an unknown member"),
        pytest.param({"user": user(provider="local")}, id="another provider"),
        pytest.param({"user": user(name=["Ada"])}, id="a list for a name"),
        pytest.param({"user": user(roles="admin")}, id="text for roles"),
        pytest.param({"user": user(roles=None)}, id="null for roles"),
        pytest.param({"user": user(roles=["a", 1])}, id="a number for a role"),
        pytest.param({"user": user(roles=["a,b"])}, id="a comma in a role"),
        pytest.param({"user": user(roles=["a|b"])}, id="a bar in a role"),
        pytest.param({"user": user(roles=[""])}, id="a role without name"),
        pytest.param({"user": user(permissions=[" x"])}, id="a space before a permission"),
        pytest.param({"user": user(), "data": []}, id="a list for data"),
        pytest.param({"user": user(), "remember": "yes"}, id="text for remember"),
        pytest.param({"user": user(), "remember": 1}, id="a number for remember"),
        pytest.param({"user": user(), "max_age": 0}, id="no age"),
        pytest.param({"user": user(), "max_age": -1}, id="an age below zero"),
        pytest.param({"user": user(), "max_age": 100.5}, id="longer than configured"),
        pytest.param({"user": user(), "max_age": "60"}, id="text for an age"),
        pytest.param({"user": user(), "max_age": True}, id="true for an age"),
        pytest.param({"user": user(), "expires": "2099-01-01"}, id="a day is no moment"),
        pytest.param({"user": user(), "expires": "2099-01-01T00:00:00"}, id="nobody knows where"),
        pytest.param({"user": user(), "expires": "2027-01-15T08:00:00Z"}, id="it is over"),
        pytest.param({"user": user(), "expires": 4e9}, id="a number for a moment"),
        pytest.param(
            {"user": user(), "expires": "2099-01-01T00:00:00Z", "max_age": 9}, id="two ends"
        ),
        pytest.param({"user": user(), "id": "ada"}, id="an unknown member above"),
        pytest.param({"user": user(), "data": {"a": "x" * LONGEST_FIELD}}, id="too long"),
    ],
)
def test_what_is_no_session_signs_nobody_in(session: dict[str, Any]) -> None:
    with pytest.raises(InvalidSessionControl, match=r"^X-Session-Create: "):
        create(**session)


# --- update ----------------------------------------------------------------------------------


def update(patch: object) -> tuple[User, Any]:
    line = b"X-Session-Update: " + json.dumps(patch).encode()
    command = understood(line)
    assert isinstance(command, Update)
    return patched(ADA, {"cart": {"a": 1, "b": 2}}, command)


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({}, {}),
        ({"user": {"name": "Ada L."}}, {"name": "Ada L."}),
        ({"user": {"name": None, "email": None}}, {"name": None, "email": None}),
        ({"user": {"image": "/a.png"}}, {"image": "/a.png"}),
        ({"user": {"roles": ["admin"]}}, {"roles": ("admin",)}),
        ({"user": {"roles": None, "permissions": []}}, {"roles": (), "permissions": ()}),
    ],
    ids=json.dumps,
)
def test_an_update_changes_the_user(patch: dict[str, Any], changed: dict[str, Any]) -> None:
    new, data = update(patch)

    assert new == User(**{name: getattr(ADA, name) for name in User.__dataclass_fields__} | changed)
    assert data == {"cart": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("patch", "data"),
    [
        ({"data": {"cart": {"a": 3, "b": None}}}, {"cart": {"a": 3}}),
        ({"data": {"theme": "dark"}}, {"cart": {"a": 1, "b": 2}, "theme": "dark"}),
        ({"data": {"cart": None}}, {}),
        ({"data": None}, {}),
    ],
    ids=json.dumps,
)
def test_an_update_changes_the_data(patch: dict[str, Any], data: dict[str, Any]) -> None:
    assert update(patch) == (ADA, data)


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param([], id="a list"),
        pytest.param(None, id="null"),
        pytest.param({"usr": {}}, id="an unknown member"),
        pytest.param({"remember": True}, id="what only a new session has"),
        pytest.param({"user": None}, id="no user"),
        pytest.param({"user": {"id": "bob"}}, id="another id"),
        pytest.param({"user": {"id": None}}, id="no id"),
        pytest.param({"user": {"provider": "local"}}, id="another provider"),
        pytest.param({"user": {"role": "admin"}}, id="an unknown member of the user"),
        pytest.param({"user": {"roles": "admin"}}, id="text for roles"),
        pytest.param({"user": {"roles": ["a,b"]}}, id="a comma in a role"),
        pytest.param({"user": {"name": {"first": "Ada"}}}, id="an object for a name"),
        pytest.param({"data": [1]}, id="a list for data"),
    ],
)
def test_what_is_no_update_changes_nothing(patch: object) -> None:
    with pytest.raises(InvalidSessionControl, match=r"^X-Session-Update: "):
        update(patch)


def test_a_visitors_data_may_be_changed_but_not_who_they_are() -> None:
    assert patched(ANONYMOUS, {}, Update({"data": {"a": 1}})) == (ANONYMOUS, {"a": 1})
    with pytest.raises(InvalidSessionControl, match="nobody is signed in"):
        patched(ANONYMOUS, {}, Update({"user": {"roles": ["admin"]}}))


def test_a_session_does_not_grow_without_end() -> None:
    almost = {"a": "x" * (LARGEST_SESSION - 1000)}

    with pytest.raises(InvalidSessionControl, match=f"the session: more than {LARGEST_SESSION}"):
        patched(ADA, almost, Update({"data": {"b": "x" * 1000}}))


def test_nor_does_a_user_whose_name_goes_into_headers() -> None:
    with pytest.raises(InvalidSessionControl, match=f"user: more than {LARGEST_USER}"):
        patched(ADA, {}, Update({"user": {"name": "x" * LARGEST_USER}}))


# --- destroy, and all of them ----------------------------------------------------------------


def test_one_ends_the_session() -> None:
    assert understood(b"X-SESSION-DESTROY:  1 ") == Destroy()


@pytest.mark.parametrize("value", ["", "0", "true", "yes", "11", "1, 1"])
def test_nothing_else_does(value: str) -> None:
    with pytest.raises(InvalidSessionControl, match=r"^X-Session-Destroy: expected 1$"):
        understood(f"X-Session-Destroy: {value}".encode())


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Session-Destroy: 1", b"X-Session-Destroy: 1"),
        (b"X-Session-Update: {}", b"X-Session-Destroy: 1"),
        (b'X-Session-Create: {"user":{"id":"ada"}}', b"X-Session-Update: {}"),
        (b"X-Session-Update: {}", b"X_Session_Update: {}"),
    ],
    ids=repr,
)
def test_there_is_one_at_most(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidSessionControl, match="more than one"):
        understood(*lines)


@pytest.mark.parametrize(
    "value",
    [
        f'{{"user": {{"id": "ada", "name": 1, "email": "{SECRET}"}}}}',
        f'{{"user": {{"id": "ada", "roles": ["{SECRET},"]}}}}',
        f'{{"user": {{"id": "{SECRET}\\n"}}}}',
        f'{{"user": "{SECRET}"}}',
        f'{{"user": {{"id": "ada"}}, "data": "{SECRET}"}}',
        f'"{SECRET}',
        f'"{SECRET}"',
    ],
)
def test_no_error_says_what_was_said(value: str) -> None:
    for name in ("Create", "Update", "Destroy"):
        with pytest.raises(InvalidSessionControl) as caught:
            understood(f"X-Session-{name}: {value}".encode())
        assert SECRET not in str(caught.value)


@given(st.sampled_from(["Create", "Update", "Destroy"]), st.binary())
def test_hostile_bytes_raise_only_the_documented_error(name: str, value: bytes) -> None:
    with suppress(InvalidSessionControl):
        understood(f"X-Session-{name}: ".encode() + value)
