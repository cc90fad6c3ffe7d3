from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import js_dates

# Years that Python's calendar has, in milliseconds since 1970.
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_797_792_000_007, "2026-12-20T18:40:00.007Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_written_as_javascript_does(moment: int, expected: str) -> None:
    assert js_dates.iso(moment) == expected
    assert js_dates.with_offset(moment) == expected.replace("Z", "+00:00")


@given(MOMENTS)
def test_what_is_written_is_read_as_the_same_moment(moment: int) -> None:
    assert js_dates.of_text(js_dates.iso(moment), zone=True) == moment
    assert js_dates.of_text(js_dates.with_offset(moment), zone=True) == moment
