"""``tests:``."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.config.report import Report
from gateway.rules.policy_tests import PolicyTest, parse_test


def build_tests(lines: Iterable[tuple[int, str]], report: Report) -> tuple[PolicyTest, ...]:
    """Understand each line."""
    tests = []
    for index, text in lines:
        path = ("tests", index)
        try:
            tests.append(parse_test(text, report.line(path)))
        except ValueError as error:
            hidden = report.hidden(path)
            report.error(path, "expected METHOD PATH as WHO -> STATUS" if hidden else str(error))
    return tuple(tests)
