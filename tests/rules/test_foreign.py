"""Who somebody is by what another framework keeps, whatever that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import ANONYMOUS, User
from gateway.rules.foreign import CLAIMS, OBJECT, Paths, Read, Trust, at, read_user
from gateway.rules.roles import is_plain_name

TRUST = Trust(provider="app")


def user(payload: object, paths: Paths = OBJECT, trust: Trust = TRUST) -> User:
    return read_user(payload, paths, trust).user


@pytest.mark.parametrize(
    ("paths", "payload", "user_id"),
    [
        pytest.param(CLAIMS, {"sub": "42"}, "42", id="a JWT's sub"),
        pytest.param(CLAIMS, {"email": "a@b.c"}, "a@b.c", id="a JWT's address"),
        pytest.param(CLAIMS, {"id": "42"}, None, id="an id is no claim"),
        pytest.param(CLAIMS, {}, None, id="nobody"),
        pytest.param(OBJECT, {"user": {"id": "42", "sub": "x"}}, "42", id="an object's id"),
        pytest.param(OBJECT, {"user": {"sub": "42"}}, "42", id="an object's sub"),
        pytest.param(OBJECT, {"user": {"id": "", "email": "a@b.c"}}, "a@b.c", id="an empty id"),
        pytest.param(OBJECT, {"user": "ada"}, "ada", id="an id alone"),
        pytest.param(OBJECT, {"passport": {"user": 0}}, "0", id="passport's zero"),
        pytest.param(OBJECT, {"passport": {"user": {"id": 0}}}, "0", id="zero in an object"),
        pytest.param(OBJECT, {"user": None, "passport": {"user": "p"}}, "p", id="the next path"),
        pytest.param(OBJECT, {"user": 7.0}, "7", id="a number as JavaScript prints it"),
        pytest.param(OBJECT, {"user": -1}, "-1", id="below zero"),
        pytest.param(OBJECT, {"user": 7.5}, None, id="no whole number"),
        pytest.param(OBJECT, {"user": 2**53}, None, id="a number that is another by now"),
        pytest.param(OBJECT, {"user": True}, None, id="true is no id"),
        pytest.param(OBJECT, {"user": False, "passport": {"user": False}}, None, id="nor false"),
        pytest.param(OBJECT, {"user": [1]}, None, id="a list"),
        pytest.param(OBJECT, {"user": " \t"}, None, id="blanks"),
        pytest.param(OBJECT, {"user": "x" * 257}, None, id="too long"),
        pytest.param(OBJECT, {"user": "x\ud800"}, None, id="half a character"),
        pytest.param(OBJECT, [], None, id="no object at all"),
        pytest.param(Paths(user=("a.b",)), {"a": {"b": {"id": 1}}}, "1", id="a path of one's own"),
        pytest.param(Paths(user=("a.b",)), {"a.b": 1}, "1", id="a key with a dot"),
        pytest.param(Paths(user=("a.b.c",)), {"a": {"b": 1}}, None, id="a path that ends early"),
    ],
)
def test_whose_session_it_is(paths: Paths, payload: object, user_id: str | None) -> None:
    found = user(payload, paths)
    assert found == ANONYMOUS if user_id is None else found.id == user_id


def test_what_is_told_of_somebody() -> None:
    claims = {"sub": "1", "name": "Ada", "email": "a@b.c", "picture": "p", "roles": ["x", "y"]}
    expected = User(
        id="app:1", provider="next", name="Ada", email="a@b.c", image="p", roles=("x", "y")
    )
    assert user(claims, CLAIMS, Trust(provider="next", id_prefix="app:")) == expected


@pytest.mark.parametrize("value", [7, ["a"], {"a": 1}, True, "", "x" * 2049])
def test_what_is_no_name_is_left_out(value: object) -> None:
    found = user({"user": {"id": 1, "name": value, "email": value, "image": value}})
    assert (found.id, found.name, found.email, found.image) == ("1", None, None, None)


@pytest.mark.parametrize(
    ("payload", "roles"),
    [
        pytest.param({"roles": ["a", "b", "a"]}, ("a", "b"), id="at the top"),
        pytest.param({"roles": "a"}, ("a",), id="one by itself"),
        pytest.param({"user": {"id": 1, "roles": ["a"]}}, ("a",), id="of the user"),
        pytest.param({"roles": ["a"], "user": {"id": 1, "roles": ["b"]}}, ("a",), id="the first"),
        pytest.param(
            {"user": None, "passport": {"user": {"id": 1, "roles": ["a"]}}},
            ("a",),
            id="beside the id",
        ),
        pytest.param({"roles": {"a": True}}, (), id="an object"),
        pytest.param({}, (), id="none"),
    ],
)
def test_where_roles_are(payload: dict[str, Any], roles: tuple[str, ...]) -> None:
    assert user({"user": {"id": 1}} | payload).roles == roles


def test_a_path_for_roles_is_the_only_one() -> None:
    paths = replace(OBJECT, roles=("rights.all",), roles_beside=False)
    payload = {"roles": ["a"], "user": {"id": 1, "roles": ["b"]}}
    assert user(payload, paths).roles == ()
    assert user(payload | {"rights": {"all": ["c"]}}, paths).roles == ("c",)


@pytest.mark.parametrize(
    "name", ["a,b", "a|b", " a", "a ", "", "a\nb", "x" * 257, "a\ud800", 7, None, True, ["a"]]
)
def test_a_name_that_headers_cannot_carry_is_dropped_and_said(name: object) -> None:
    read = read_user({"user": {"id": 1}, "roles": ["ok", name]}, OBJECT, TRUST)
    assert read.user.roles == ("ok",)
    assert len(read.dropped) == 1


def test_a_source_gives_the_roles_that_it_may_and_no_other() -> None:
    trust = Trust(provider="app", allowed_roles=frozenset({"reader"}))
    payload = {"user": {"id": 1}, "roles": ["admin", "reader"]}
    assert read_user(payload, OBJECT, trust) == Read(
        User(id="1", provider="app", roles=("reader",)), ("admin",)
    )
    assert user(payload, OBJECT, replace(trust, allowed_roles=frozenset())).roles == ()


def test_permissions_count_only_where_a_path_says_so() -> None:
    payload = {"user": {"id": 1}, "permissions": ["*"], "rights": ["read", "a,b"]}
    assert user(payload).permissions == ()
    read = read_user(payload, replace(OBJECT, permissions=("rights",)), TRUST)
    assert (read.user.permissions, read.dropped) == (("read",), ("a,b",))


def test_an_id_that_begins_as_anothers_is_nobodys() -> None:
    trust = Trust(provider="app", reserved=("shop:", "x"))
    assert user({"user": "shop:1"}, OBJECT, trust) == ANONYMOUS
    assert read_user({"user": "x"}, OBJECT, trust).dropped == ("id x",)
    assert user({"user": "shop"}, OBJECT, trust).id == "shop"


def test_an_endless_list_is_read_to_a_bound() -> None:
    read = read_user({"user": 1, "roles": [str(n) for n in range(5000)]}, OBJECT, TRUST)
    assert len(read.user.roles) == 1000
    assert read.dropped == ("4000 more",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["user", "id", "sub", "roles", "passport", "email", "name", "a.b"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from([CLAIMS, OBJECT, replace(OBJECT, permissions=("roles",))]))
def test_whatever_is_kept_somebody_sound_comes_of_it_or_nobody(payload: Any, paths: Paths) -> None:
    trust = Trust(provider="app", id_prefix="p:", allowed_roles=frozenset({"a", "b"}))
    found = read_user(payload, paths, trust).user
    if found == ANONYMOUS:
        return
    assert found.id.startswith("p:")
    assert len(found.id) > len("p:")
    assert set(found.roles) <= {"a", "b"}
    assert all(map(is_plain_name, found.permissions))
    for text in (found.id, found.name, found.email, found.image):
        assert text is None or text.encode()


@given(JSON, st.text(max_size=12))
def test_a_path_leads_somewhere_or_nowhere(payload: Any, path: str) -> None:
    at(payload, path)
    if path and isinstance(payload, dict):
        assert at({path: payload}, path) is payload
