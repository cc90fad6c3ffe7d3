from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ClientError
from gateway.server.answers import PageRequest
from gateway.server.forms import read_form, read_query

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def request(body: bytes, content_type: str | None = FORM) -> PageRequest:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return PageRequest(method="POST", path="/", query="", headers=headers, cookies={}, body=body)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (FORM, b"", {}),
        (None, b"", {}),
        (FORM, b"a=1&b=2", {"a": "1", "b": "2"}),
        (FORM, b"a=&b", {"a": "", "b": ""}),
        (FORM, b"a=x+y%20z%2B", {"a": "x y z+"}),
        (FORM, b"a=caf%C3%A9", {"a": "caf\u00e9"}),
        (FORM, "a=caf\u00e9".encode(), {"a": "caf\u00e9"}),
        (FORM, b"a=1;b=2", {"a": "1;b=2"}),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", b"a=1", {"a": "1"}),
        (JSON, b"{}", {}),
        (JSON, b'{"a": "1", "json": true, "redirect": false}', {"a": "1", "json": "true"}),
        (JSON, b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('application/json; charset="utf-8"', '{"a": "caf\u00e9"}'.encode(), {"a": "caf\u00e9"}),
    ],
)
def test_forms(content_type: str | None, body: bytes, expected: Mapping[str, str]) -> None:
    fields = read_form(request(body, content_type))
    assert {name: fields[name] for name in fields if name != "redirect"} == expected


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param(FORM, b"a=1&a=1", id="a field twice"),
        pytest.param(FORM, b"password=x&%70assword=y", id="a field twice, spelt differently"),
        pytest.param(FORM, b"a=\xff", id="not UTF-8"),
        pytest.param(FORM, b"a=%ff", id="not UTF-8 once decoded"),
        pytest.param(FORM, b"a=%c3%28", id="broken UTF-8"),
        pytest.param(FORM, b"&".join(b"f%d=" % n for n in range(40)), id="too many fields"),
        pytest.param(FORM + "; charset=utf-7", b"a=1", id="another charset"),
        pytest.param("multipart/form-data; boundary=x", b"--x", id="multipart"),
        pytest.param("text/plain", b'{"a": "1"}', id="what a form of another site can send"),
        pytest.param(None, b"a=1", id="no type"),
        pytest.param(JSON, b"{", id="broken JSON"),
        pytest.param(JSON, b"[]", id="an array"),
        pytest.param(JSON, b'[["a", "1"]]', id="an array of pairs"),
        pytest.param(JSON, b'"a"', id="a string"),
        pytest.param(JSON, b'{"a": "1", "a": "2"}', id="a member twice"),
        pytest.param(JSON, b'{"a": 1}', id="a number"),
        pytest.param(JSON, b'{"a": null}', id="null"),
        pytest.param(JSON, b'{"a": {"b": "c"}}', id="nested"),
        pytest.param(JSON, b'{"a": "\xff"}', id="JSON that is not UTF-8"),
        pytest.param(JSON, b'{"a": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(JSON, b'{"a": "\\udc00x"}', id="the other half"),
        pytest.param(JSON, b"[" * 60_000, id="depth"),
        pytest.param(JSON, b'{"a":' * 10_000, id="depth of objects"),
        pytest.param(JSON, b'{"a": ' + b"9" * 5000 + b"}", id="a number of many digits"),
        pytest.param(
            JSON, json.dumps({f"f{n}": "" for n in range(40)}).encode(), id="too many members"
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(content_type: str | None, body: bytes) -> None:
    with pytest.raises(ClientError):
        read_form(request(body, content_type))


@given(st.binary(max_size=200), st.sampled_from([FORM, JSON, "text/plain"]))
def test_hostile_bytes_raise_only_the_documented_error(body: bytes, content_type: str) -> None:
    try:
        fields = read_form(request(body, content_type))
    except ClientError:
        return
    assert all(isinstance(part, str) for pair in fields.items() for part in pair)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("callbackUrl=%2Fapp%3Fa%3D1", {"callbackUrl": "/app?a=1"}),
        ("a=1&a=2&b=3", {"b": "3"}),
        ("a=1&a=2&a=3", {}),
        ("a=%ff", {"a": "\ufffd"}),
        ("&&=&?", {"": "", "?": ""}),
    ],
)
def test_queries_never_fail(query: str, expected: Mapping[str, str]) -> None:
    assert read_query(query) == expected
