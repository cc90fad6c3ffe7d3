from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.foreign import Refused, Why
from gateway.formats.next_chunks import LONGEST, belongs, left_over, pieces, split


@given(st.integers(0, LONGEST), st.integers(100, 4000))
def test_what_was_split_is_put_together_in_whatever_order_it_comes(length: int, size: int) -> None:
    value = ("0123456789abc" * (length // 13 + 1))[:length]
    cookies = split("s", value, size)
    assert pieces(dict(reversed(cookies.items())), "s") == (value or None)
    assert all(belongs(cookie, "s") and len(piece) <= size for cookie, piece in cookies.items())


@pytest.mark.parametrize(
    ("length", "names"),
    [
        pytest.param(10, ["s"], id="as long as one may be"),
        pytest.param(11, ["s.0", "s.1"], id="one more"),
        pytest.param(20, ["s.0", "s.1"], id="two full ones"),
        pytest.param(101, [f"s.{number}" for number in range(11)], id="numbers of two digits"),
    ],
)
def test_a_value_is_cut_only_where_it_must_be(length: int, names: list[str]) -> None:
    assert list(split("s", "x" * length, 10)) == names


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"s": "", "s.0": ""}, None, id="empty ones"),
        pytest.param({"s": "abc"}, "abc", id="a whole one"),
        pytest.param({"s.0": "ab", "s.1": "c"}, "abc", id="pieces"),
        pytest.param({"s.1": "c", "s.0": "ab"}, "abc", id="by number, not as they come"),
        pytest.param({"s": "", "s.0": "abc"}, "abc", id="a whole one that is empty"),
        pytest.param({"s.0": "abc", "s.1": ""}, "abc", id="a piece that is empty"),
        pytest.param({"s.1": "c"}, Why.BAD_CHUNKS, id="without the first"),
        pytest.param({"s.0": "a", "s.2": "c"}, Why.BAD_CHUNKS, id="without one in the middle"),
        pytest.param({"s.0": "a", "s.1": "", "s.2": "c"}, Why.BAD_CHUNKS, id="an empty one there"),
        pytest.param({"s": "abc", "s.0": "abc"}, Why.BAD_CHUNKS, id="whole and in pieces"),
        pytest.param({"s.0": "a", "s.01": "b"}, Why.BAD_CHUNKS, id="a zero in front"),
        pytest.param({"s.00": "a"}, Why.BAD_CHUNKS, id="a zero in front of a zero"),
        pytest.param({"s": "abc", "s.0001": "x"}, "abc", id="more digits than pieces have"),
        pytest.param({"s": "abc", "s-old": "x", "s.": "y", "s.a": "z"}, "abc", id="others"),
        pytest.param({"s": "abc", "s.0.0": "x", "ss": "y", "s.\u0661": "z"}, "abc", id="more"),
        pytest.param({"S": "abc", "t": "x"}, None, id="another name"),
        pytest.param({"s": "x" * LONGEST}, "x" * LONGEST, id="as long as may be"),
        pytest.param({"s": "x" * (LONGEST + 1)}, Why.TOO_LARGE, id="too long"),
        pytest.param({"s.0": "x" * LONGEST, "s.1": "x"}, Why.TOO_LARGE, id="too long together"),
    ],
)  # fmt: skip
def test_pieces(cookies: dict[str, str], value: str | Why | None) -> None:
    if isinstance(value, Why):
        with pytest.raises(Refused) as caught:
            pieces(cookies, "s")
        assert caught.value.why is value
    else:
        assert pieces(cookies, "s") == value


def test_what_a_browser_holds_and_is_not_written_anew_is_left_over() -> None:
    held = ["a", "s", "s.0", "s.1", "s.10", "s-old", "s.x"]
    assert left_over(held, "s", ["s"]) == ["s.0", "s.1", "s.10"]
    assert left_over(held, "s", ["s.0", "s.1"]) == ["s", "s.10"]
    assert left_over(held, "s", []) == ["s", "s.0", "s.1", "s.10"]


@given(st.dictionaries(st.from_regex(r"s(\.[0-9]{0,4}|-x)?\Z"), st.text(max_size=3)))
def test_no_cookies_raise_anything_but_the_documented_error(cookies: dict[str, str]) -> None:
    try:
        found = pieces(cookies, "s")
    except Refused:
        return
    if found is None:
        assert not [name for name, value in cookies.items() if value and belongs(name, "s")]
        return
    numbered = sorted((int(name[2:] or -1), value) for name, value in cookies.items()
                      if value and belongs(name, "s"))  # fmt: skip
    assert found == "".join(value for _, value in numbered)
