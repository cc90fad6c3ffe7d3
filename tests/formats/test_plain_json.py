from __future__ import annotations

import json
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.plain_json import DEEPEST, NotPlain, copied, parse


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(b"", "not JSON", id="empty"),
        pytest.param(b"{", "not JSON", id="half"),
        pytest.param(b"{} {}", "not JSON", id="two values"),
        pytest.param(b'{"a":1,}', "not JSON", id="a comma too many"),
        pytest.param(b'{"a":"\n"}', "not JSON", id="a control character"),
        pytest.param(b'"\xff"', "not UTF-8", id="another encoding"),
        pytest.param(b'{"a":1,"a":1}', "a name twice in one object", id="a name twice"),
        pytest.param(b'{"a":{"b":1,"b":2}}', "a name twice in one object", id="twice below"),
        pytest.param(b'{"a":1,"\\u0061":2}', "a name twice in one object", id="twice, escaped"),
        pytest.param(b"NaN", "a number without end", id="no number"),
        pytest.param(b"[-Infinity]", "a number without end", id="infinity"),
        pytest.param(b"1e999", "a number without end", id="a number that becomes infinity"),
        pytest.param(b"18446744073709551616", "a whole number of more than 64 bits", id="65 bits"),
        pytest.param(b"9" * 5000, "not JSON", id="a number of 5000 digits"),
        pytest.param(b'"\\ud800"', "half a surrogate pair", id="half a pair"),
        pytest.param(b'{"\\udc00":1}', "half a surrogate pair", id="half a pair in a name"),
        pytest.param(nested(DEEPEST + 1).encode(), f"more than {DEEPEST} levels", id="too deep"),
        pytest.param(nested(100_000).encode(), "not JSON", id="deeper than the parser"),
    ],
)
def test_what_parsers_could_read_differently_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(NotPlain) as caught:
        parse(raw)

    assert str(caught.value) == why


@pytest.mark.parametrize(
    "text",
    [
        'null', 'true', '0', '-9223372036854775808', '18446744073709551615', '1.5', '"h\u00e9"',
        '"\\ud83d\\ude00"', '{"a":[1,{"b":null}],"c":{}}', nested(DEEPEST),
    ],
)  # fmt: skip
def test_all_else_is_read(text: str) -> None:
    assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(object(), "a value of type object", id="object"),
        (b"bytes", "a value of type bytes"),
        ({1, 2}, "a value of type set"),
        ({1: "one"}, "a name of type int"),
        ({"a": [float("nan")]}, "a number without end"),
        ("\ud800", "half a surrogate pair"),
        (2**64, "a whole number of more than 64 bits"),
    ],
    ids=repr,
)
def test_what_json_cannot_express_is_refused(value: object, why: str) -> None:
    with pytest.raises(NotPlain) as caught:
        copied(value)

    assert str(caught.value) == why


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)

    with pytest.raises(NotPlain):
        copied(circle)


def test_a_copy_shares_nothing_with_its_original() -> None:
    inner = [1]
    copy = copied({"a": inner, "b": (1, 2), "c": MappingProxyType({"d": inner})})
    inner.append(2)

    assert copy == {"a": [1], "b": [1, 2], "c": {"d": [1]}}


plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=10,
)


@given(plain)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value


@given(st.binary())
def test_hostile_bytes_raise_only_the_documented_error(raw: bytes) -> None:
    with suppress(NotPlain):
        parse(raw)
