from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from gateway.model import User
from gateway.rules.callbacks import (
    account_of,
    answer_of,
    kept_of,
    shown_of,
    token_of,
    user_of,
)
from gateway.rules.session_control import LARGEST_SESSION

ADA = User(
    id="ada",
    provider="corp",
    name="Ada",
    email="ada@example.com",
    image="/ada.png",
    roles=("editor",),
    permissions=("read",),
)
DATA = {"cart": {"a": 1}}
TOKEN = {
    "sub": "ada",
    "name": "Ada",
    "email": "ada@example.com",
    "picture": "/ada.png",
    "roles": ["editor"],
    "permissions": ["read"],
    "cart": {"a": 1},
}


def test_callbacks_see_users_accounts_and_tokens_as_in_nextauth() -> None:
    assert user_of(ADA) == {
        "id": "ada",
        "name": "Ada",
        "email": "ada@example.com",
        "image": "/ada.png",
        "roles": ["editor"],
        "permissions": ["read"],
        "provider": "corp",
    }
    assert account_of(ADA, "credentials") == {
        "provider": "corp",
        "type": "credentials",
        "providerAccountId": "ada",
    }
    assert token_of(ADA, DATA) == TOKEN


def test_what_a_callback_does_to_its_token_changes_nothing_that_is_kept() -> None:
    token = token_of(ADA, DATA)
    token["cart"]["a"] = 2
    token["roles"].append("admin")

    assert (DATA, ADA.roles) == ({"cart": {"a": 1}}, ("editor",))


def test_a_token_that_comes_back_as_it_was_changes_nothing() -> None:
    assert kept_of(token_of(ADA, DATA), ADA, DATA) == (ADA, DATA)


@pytest.mark.parametrize(
    ("changes", "user", "data"),
    [
        ({"name": "Ada L."}, {"name": "Ada L."}, DATA),
        ({"picture": None, "email": None}, {"image": None, "email": None}, DATA),
        ({"roles": ("admin", "admin")}, {"roles": ("admin",)}, DATA),
        ({"permissions": []}, {"permissions": ()}, DATA),
        ({"cart": None, "theme": "dark"}, {}, {"cart": None, "theme": "dark"}),
    ],
    ids=json.dumps,
)
def test_what_a_token_says_is_kept(
    changes: dict[str, Any], user: dict[str, Any], data: dict[str, Any]
) -> None:
    before = {name: getattr(ADA, name) for name in User.__dataclass_fields__}

    assert kept_of(TOKEN | changes, ADA, DATA) == (User(**before | user), data)


def test_what_a_token_lacks_is_gone_but_who_somebody_is() -> None:
    assert kept_of({}, ADA, DATA) == (User(id="ada", provider="corp"), {})


def test_any_mapping_is_a_token() -> None:
    assert kept_of(MappingProxyType(TOKEN), ADA, DATA) == (ADA, DATA)


def test_what_upstreams_keep_under_a_name_of_the_tokens_own_is_left_alone() -> None:
    data = {"name": "of a ship", "sub": 7, "cart": {}}
    token = token_of(ADA, data)

    assert token["name"] == "Ada"
    assert kept_of(token | {"cart": 1}, ADA, data) == (ADA, {**data, "cart": 1})


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (None, "expected the token, not NoneType"),
        ([], "expected the token, not list"),
        (TOKEN | {"sub": "root"}, "a token cannot become another user's"),
        (TOKEN | {"sub": None}, "a token cannot become another user's"),
        (TOKEN | {"roles": "admin"}, "Expected `array`"),
        (TOKEN | {"roles": ["a,b"]}, "user.roles: expected names without comma"),
        (TOKEN | {"name": 7}, "Expected `str | null`"),
        (TOKEN | {"when": {1, 2}}, "a value of type set"),
        (TOKEN | {7: "seven"}, "a name of type int"),
        (TOKEN | {"much": "x" * LARGEST_SESSION}, "the session: more than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_token_is_refused(token: object, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  what it says is looked at
        kept_of(token, ADA, DATA)

    assert str(caught.value).startswith(why)


def test_what_is_shown_is_a_json_object() -> None:
    assert shown_of({"user": {"id": "ada"}, "list": (1, 2)}) == {
        "user": {"id": "ada"},
        "list": [1, 2],
    }
    wrongs: list[object] = [None, [], "text", {"a": object()}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"expected the session|a value of type object"):
            shown_of(wrong)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (True, True),
        (False, False),
        (None, False),
        ("/pending", "/pending"),
        ("/", "/"),
        ("/a?b=c#d", "/a?b=c#d"),
        ("https://example.com/sorry", "https://example.com/sorry"),
        ("http://localhost:3000", "http://localhost:3000"),
    ],
)
def test_sign_in_says_who_may_or_where_to_go(answer: object, meaning: bool | str) -> None:
    assert answer_of(answer) == meaning


@pytest.mark.parametrize(
    "answer",
    [1, 0, {}, [], "", "pending", "//evil.example", "/\\evil.example", "javascript:alert(1)",
     "/a b", "/a\r\nSet-Cookie: x", "/ä", "https://", "https:///x", "/a\n", "HTTPS://x"],
    ids=repr,
)  # fmt: skip
def test_what_sign_in_must_not_say_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        answer_of(answer)
