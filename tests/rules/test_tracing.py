"""``traceparent``: a valid one names its trace, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.tracing import BYTES, new_trace, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param([PARENT], TRACE, id="valid"),
        pytest.param([f"cc-{TRACE}-00f067aa0ba902b7-01-later"], TRACE, id="a later version"),
        pytest.param([f"cc-{TRACE}-00f067aa0ba902b7-01"], TRACE, id="a later version, no more"),
        pytest.param([PARENT, PARENT], "", id="twice"),
        pytest.param([f"ff-{TRACE}-00f067aa0ba902b7-01"], "", id="a version that never is"),
        pytest.param([PARENT + "-more"], "", id="more than version 00 has"),
        pytest.param([f"cc-{TRACE}-00f067aa0ba902b7-01later"], "", id="no dash before more"),
        pytest.param([PARENT.upper()], "", id="upper case"),
        pytest.param([f"00-{'0' * 32}-00f067aa0ba902b7-01"], "", id="no trace"),
        pytest.param([f"00-{TRACE}-{'0' * 16}-01"], "", id="no parent"),
        pytest.param([PARENT[:-1]], "", id="too short"),
        pytest.param([PARENT + "\n"], "", id="a line feed"),
    ],
)
def test_trace_id(values: list[str], expected: str) -> None:
    assert trace_id(values) == expected


@given(st.binary(min_size=BYTES, max_size=BYTES).filter(lambda b: any(b[:16]) and any(b[16:])))
def test_a_new_trace_is_one_that_others_read(random: bytes) -> None:
    found, parent = new_trace(random)
    assert trace_id([parent]) == found


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert trace_id([text]) in ("", text[3:35])
