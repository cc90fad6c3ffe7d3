from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Caller, IdentityField, RoleGrant, Session, SessionId, SessionKey, User
from gateway.rules.identity import (
    PRESETS,
    effective_roles,
    encode_value,
    identity_block,
    identity_fields,
    identity_value,
    isoformat,
)
from gateway.rules.roles import compile_roles, is_plain_name

ADA = User(
    id="ada",
    provider="corp",
    name="Ada Lovelace",
    email="ada@example.com",
    image="https://example.com/ada.png",
    roles=("editor",),
    permissions=("extra",),
)
CALLER = Caller(
    user=ADA,
    roles=frozenset({"editor", "viewer"}),
    permissions=frozenset({"reports:read", "extra"}),
)
SESSION = Session(
    key=SessionKey("0" * 64),
    id=SessionId("public-handle"),
    user=ADA,
    created_at=0.0,
    ends_at=2_000_000_000.0,
    touched_at=0.0,
    expires_at=1_795_391_546.0,
)
PRESET = PRESETS["gateway"]


def test_the_preset() -> None:
    assert identity_fields(PRESET, SESSION, CALLER) == [
        ("X-User-Id", "ada"),
        ("X-User-Name", "Ada Lovelace"),
        ("X-User-Email", "ada@example.com"),
        ("X-User-Image", "https://example.com/ada.png"),
        ("X-User-Roles", "editor,viewer"),
        ("X-User-Permissions", "extra,reports:read"),
        ("X-Session-Id", "public-handle"),
        ("X-Session-Expires", "2026-11-22T23:52:26.000Z"),
        ("X-Auth-Provider", "corp"),
    ]


def test_what_is_absent_is_an_absent_header() -> None:
    nobody = Caller(user=User(id="u"), roles=frozenset(), permissions=frozenset())

    assert identity_fields(PRESET, None, nobody) == [("X-User-Id", "u"),
                                                     ("X-Auth-Provider", "local")]  # fmt: skip
    empty = replace(nobody, user=User(id="u", name="", email="", image=""))
    assert identity_fields(PRESET, None, empty) == identity_fields(PRESET, None, nobody)


def test_a_map_of_the_operator_s_own_in_its_order() -> None:
    headers = {"Remote-Groups": IdentityField.USER_ROLES, "Remote-User": IdentityField.USER_ID}

    assert identity_fields(headers, SESSION, CALLER) == [
        ("Remote-Groups", "editor,viewer"),
        ("Remote-User", "ada"),
    ]
    assert identity_block(headers, SESSION, CALLER) == (
        b"Remote-Groups: editor,viewer\r\nRemote-User: ada\r\n"
    )


@pytest.mark.parametrize("field", IdentityField)
def test_every_field_has_a_value_or_none(field: IdentityField) -> None:
    value = identity_value(field, SESSION, CALLER)

    assert (value is None) is (field is IdentityField.REQUEST_ID)


def test_a_request_s_id_is_not_known_to_a_session() -> None:
    assert identity_fields({"X-Request-Id": IdentityField.REQUEST_ID}, SESSION, CALLER) == []


@pytest.mark.parametrize(
    ("given_roles", "expected"),
    [
        pytest.param(("b", "a"), ["b", "a"], id="in the order given"),
        pytest.param(("b", "b"), ["b"], id="once"),
        pytest.param(("top",), ["top", "a", "b"], id="then the inherited by name"),
        pytest.param(("b", "top"), ["b", "top", "a"], id="given before inherited"),
        pytest.param(("a,b", "b"), ["b"], id="only those that count"),
    ],
)
def test_roles_in_their_order(given_roles: tuple[str, ...], expected: list[str]) -> None:
    table = compile_roles(
        {"top": RoleGrant(inherits=("b", "a")), "a": RoleGrant(), "b": RoleGrant()}
    )

    assert effective_roles(table.caller(User(id="u", roles=given_roles))) == expected


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("ada", "ada", id="plain"),
        pytest.param("Ada Lovelace", "Ada Lovelace", id="a space inside"),
        pytest.param("!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~",
                     id="printable ASCII"),
        pytest.param("100%", "100%25", id="percent"),
        pytest.param("%41", "%2541", id="an escape is text"),
        pytest.param("Größe", "Gr%C3%B6%C3%9Fe", id="UTF-8"),
        pytest.param("日本", "%E6%97%A5%E6%9C%AC", id="more UTF-8"),
        pytest.param("😀", "%F0%9F%98%80", id="beyond the BMP"),
        pytest.param(" ada", "%20ada", id="space in front"),
        pytest.param("ada ", "ada%20", id="space at the end"),
        pytest.param("  a  b  ", "%20%20a  b%20%20", id="spaces everywhere"),
        pytest.param("  ", "%20%20", id="nothing but spaces"),
        pytest.param("a\r\nX: y", "a%0D%0AX: y", id="line end"),
        pytest.param("a\tb\x00\x7f", "a%09b%00%7F", id="controls"),
        pytest.param("a\u00a0", "a%C2%A0", id="no-break space"),
        pytest.param("\ud800", "%EF%BF%BD", id="half a surrogate pair"),
        pytest.param("", "", id="empty"),
    ],
)  # fmt: skip
def test_values_no_parser_can_misread(text: str, value: str) -> None:
    assert encode_value(text) == value


@given(st.text())
def test_whoever_decodes_a_value_gets_the_text_back(text: str) -> None:
    value = encode_value(text)

    assert unquote(value, errors="strict") == text
    assert re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|", value)


@given(st.text(alphabet=st.characters(codec=None)), st.lists(st.text()))
def test_no_identity_ends_a_line(text: str, names: list[str]) -> None:
    user = User(id=text or "u", name=text, email=text, image=text, roles=tuple(names),
                permissions=tuple(names))  # fmt: skip
    caller = compile_roles({}).caller(user)
    block = identity_block(PRESET, SESSION, caller)

    lines = block.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    assert len(lines) == len(identity_fields(PRESET, SESSION, caller))
    assert all(re.fullmatch(r"X-[A-Za-z-]+: [\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", line) for
               line in lines)  # fmt: skip


@given(st.lists(st.text(min_size=1).filter(is_plain_name), min_size=1, unique=True))
def test_names_come_apart_at_the_commas(names: list[str]) -> None:
    caller = compile_roles({}).caller(User(id="u", roles=tuple(names), permissions=tuple(names)))

    roles = identity_value(IdentityField.USER_ROLES, None, caller)
    permissions = identity_value(IdentityField.USER_PERMISSIONS, None, caller)

    assert roles is not None
    assert permissions is not None
    assert [unquote(name) for name in roles.split(",")] == names
    assert [unquote(name) for name in permissions.split(",")] == sorted(names)


# --- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_391_546.0, "2026-11-22T23:52:26.000Z"),
        (1_795_391_546.25, "2026-11-22T23:52:26.250Z"),
        (1_795_391_546.9999, "2026-11-22T23:52:26.999Z"),
        (1_709_164_800.0, "2024-02-29T00:00:00.000Z"),
        (8_640_000_000_000.0, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(when: float, text: str) -> None:
    assert isoformat(when) == text
