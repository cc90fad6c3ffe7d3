"""A client that sends is waited for, and one that only seems to send is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.uploads import LEAST_RATE, patience


@pytest.mark.parametrize(
    ("received", "waited", "seconds"),
    [
        pytest.param(0, 0.0, 60.0, id="the beginning"),
        pytest.param(1, 59.0, 1.002, id="a byte after a minute"),
        pytest.param(2, 60.0, 0.004, id="another one, and that was it"),
        pytest.param(100, 70.0, 0.0, id="too slow"),
        pytest.param(30_000, 60.0, 60.0, id="half a thousand bytes for each second"),
        pytest.param(10_000_000, 600.0, 60.0, id="no credit is longer than a pause may be"),
    ],
)
def test_patience(received: int, waited: float, seconds: float) -> None:
    assert patience(60.0, received, waited) == pytest.approx(seconds)


@given(st.floats(0.1, 600.0), st.lists(st.tuples(st.floats(0.0, 600.0), st.integers(0, 10**9))))
def test_nobody_who_sends_fast_enough_is_cut_off(
    idle: float, pieces: list[tuple[float, int]]
) -> None:
    received, waited = 0, 0.0
    for seconds, size in pieces:
        pause = min(seconds, idle)
        assert pause <= patience(idle, received, waited) + 1e-6
        received += max(size, round(pause * LEAST_RATE) + 1)
        waited += pause


@given(st.floats(0.1, 600.0), st.floats(0.0, LEAST_RATE - 1.0))
def test_who_sends_more_slowly_is_cut_off_in_bounded_time(idle: float, rate: float) -> None:
    waited = idle * LEAST_RATE / (LEAST_RATE - rate) + 0.01
    assert patience(idle, int(rate * waited), waited) < 0.01
