"""Durations in seconds, sizes in bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.durations import parse_duration, parse_size

ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("15m", 900.0),
        ("12h", 43200.0),
        ("30d", 2592000.0),
        ("1.5s", 1.5),
        ("90", 90.0),
        (90, 90.0),
        ("0.5", 0.5),
    ],
)
def test_duration(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "s", "0", "0s", 0, -1, "-1s", "1 s", " 1s", "1S", "1M", "1w", "1h30m", "1e3", "inf", "nan"]  # noqa: RUF005
    + ["١s", "1s\n", True, None, 1.5, ["1s"], "9" * 400],
)
def test_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [("1", 1), (65536, 65536), ("64KiB", 65536), ("1MiB", 1048576), ("2GiB", 2147483648)],
)
def test_size(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", ["", 0, "0KiB", "1KB", "1MB", "1M", "1.5MiB", "1 MiB", "-1", True, None, "٣KiB"]
)
def test_no_size(written: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a size"):
        parse_size(written)


@given(ANYTHING)
def test_anything_is_a_positive_number_or_refused(written: object) -> None:
    for parse in (parse_duration, parse_size):
        with suppress(ValueError):
            assert parse(written) > 0
