"""How a group of cases passes, and how much of the suites runs."""

from __future__ import annotations

import os

import pytest

FULL = os.environ.get("GATEWAY_SUITES") == "full"
"""Whether nothing may be shortened (``make suites``)."""


def assert_all_pass(faults: list[str], *, cases: int) -> None:
    """Fail the test with a line for each fault. A group without cases fails too."""
    assert cases > 0, "the suite has no such cases any more"
    if faults:
        pytest.fail(f"{len(faults)} faults in {cases} cases:\n" + "\n".join(faults), pytrace=False)
