from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.javascript_json import DEEPEST, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(b'{"a":[1,-2.5,true,null,"x"]}', {"a": [1, -2.5, True, None, "x"]}, id="all"),
        pytest.param(b' {"a" : 1}\r\n\t', {"a": 1}, id="white space"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="of a name that is there twice, the last"),
        pytest.param(b'{"__proto__":{"admin":true}}', {"__proto__": {"admin": True}}, id="proto"),
        pytest.param(b'"\\ud83d\\ude00"', "😀", id="a surrogate pair"),
        pytest.param(b'"\\ud83d"', "\ufffd", id="the first half of one"),
        pytest.param(b'"\\ude00\\ud83d"', "\ufffd\ufffd", id="both halves, the wrong way round"),
        pytest.param(b'{"\\ud800":["\\ud800"]}', {"\ufffd": ["\ufffd"]}, id="in names, and deep"),
        pytest.param(b'"\\\\ud83d"', "\\ud83d", id="an escaped backslash before it"),
        pytest.param(b'"\\u0000\xc2\xa0"', "\x00\xa0", id="control characters"),
        pytest.param(b"12345678901234567890", 12345678901234567890, id="a long integer"),
        pytest.param(b"1e300", 1e300, id="a large number"),
    ],
)
def test_it_is_read_as_javascript_reads_it(text: bytes, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b"NaN", b"[Infinity]", b"-Infinity", b"1e400", b'["\\ud800",1e400]', b"01",
     b"1.", b"'a'", b'"a\nb"', b"{} {}", b"{a:1}", b"[1,]", b"undefined", b'"\xff"',
     b"\xef\xbb\xbf{}", b'"\xed\xa0\x80"', b'"\xc0\x80"', "{}".encode("utf-16"),
     b"\x00", b'{"a":"\\ud800"', b"1" * 5000],
    ids=repr,
)  # fmt: skip
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the one that it documents
        parse(text)


@pytest.mark.parametrize("half", ["", '"\\ud800",'])
def test_nothing_nests_deeper_than_it_may(half: str) -> None:
    def nested(levels: int) -> bytes:
        return f"{'[' * (levels - 1)}[{half}1]{']' * (levels - 1)}".encode()

    assert isinstance(parse(nested(DEEPEST)), list)
    assert parse(b"[" + b"[[]]," * 9000 + nested(DEEPEST - 1) + b"]")
    for levels in (DEEPEST + 1, 900, 100_000):
        with pytest.raises(ValueError):  # noqa: PT011
            parse(nested(levels))


def test_brackets_in_strings_are_no_levels() -> None:
    text = json.dumps({'a"\\': "[" * 100 + '\\"{\\' * 100, "b": [["]" * 100]]})
    assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("opening", ["[", '{"":'])
def test_objects_are_levels_as_arrays_are(opening: str) -> None:
    def nested(levels: int) -> bytes:
        mixed = (opening, '{"a":')
        inside = "".join(mixed[level % 2] for level in range(levels))
        return (inside + "1" + "".join("]" if mixed[level % 2] == "[" else "}"
                                       for level in reversed(range(levels)))).encode()  # fmt: skip

    assert parse(nested(DEEPEST))
    with pytest.raises(ValueError, match="levels"):
        parse(nested(DEEPEST + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)  # fmt: skip


@given(JSON)
def test_whatever_was_written_is_read_back(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary() | st.text(st.sampled_from('{}[]",:\\ud8e0tfn19.-+ ')).map(str.encode))
def test_whatever_is_read_can_be_written_as_utf8(raw: bytes) -> None:
    try:
        value = parse(raw)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
