from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.chunks import LONGEST, MOST, join, slots, split

NAME = "__Host-gateway_session"
BEYOND = MOST * (LONGEST - len(NAME) - 2) + 1


@given(st.integers(1, BEYOND - 1))
def test_what_was_split_is_joined_and_every_piece_fits_a_browser(length: int) -> None:
    value = ("0123456789" * (length // 10 + 1))[:length]
    cookies = split(NAME, value)
    assert cookies is not None
    assert join(NAME, cookies) == value
    assert set(cookies) <= set(slots(NAME))
    assert all(len(name) + len(piece) <= LONGEST < 4096 for name, piece in cookies.items())


@pytest.mark.parametrize(
    ("length", "names"),
    [
        pytest.param(LONGEST - len(NAME), [NAME], id="a whole one"),
        pytest.param(LONGEST - len(NAME) + 1, [f"{NAME}.0", f"{NAME}.1"], id="one more: two"),
        pytest.param(BEYOND - 1, [f"{NAME}.{n}" for n in range(MOST)], id="as long as may be"),
    ],
)
def test_a_value_is_cut_only_where_it_must_be(length: int, names: list[str]) -> None:
    assert list(split(NAME, "x" * length) or ()) == names


def test_what_is_too_long_is_not_cut() -> None:
    assert split(NAME, "x" * BEYOND) is None


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"s": "abc"}, "abc", id="a whole one"),
        pytest.param({"s.0": "ab", "s.1": "c"}, "abc", id="pieces"),
        pytest.param({"s.1": "c", "s.0": "ab"}, "abc", id="by number, not as they come"),
        pytest.param({"s.0": "ab"}, "ab", id="one piece: not for us to say whether it is all"),
        pytest.param({"s.1": "c"}, None, id="without the first"),
        pytest.param({"s.0": "a", "s.2": "c"}, None, id="without one in the middle"),
        pytest.param({"s": "abc", "s.0": "a"}, None, id="whole and in pieces"),
        pytest.param({"s.0": "a", "s.1": "b", "s.4": "c"}, "ab", id="a name that is not ours"),
        pytest.param({"s.00": "a", "s.a": "b", "S": "c"}, None, id="names like ours"),
    ],
)
def test_join(cookies: dict[str, str], value: str | None) -> None:
    assert join("s", cookies) == value
