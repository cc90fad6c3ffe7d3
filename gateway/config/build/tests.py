"""``tests:``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.config.report import Report
from gateway.rules.policy_tests import PolicyTest, parse_test

_UNSHOWN = "this test"
"""Stands for the text of one whose values come from elsewhere and may be secrets."""


def build_tests(lines: Iterable[tuple[int, str]], report: Report) -> tuple[PolicyTest, ...]:
    """Understand each line."""
    tests = []
    for index, text in lines:
        path = ("tests", index)
        try:
            test = parse_test(text, *report.position(path))
            tests.append(replace(test, text=_UNSHOWN) if report.hidden(path) else test)
        except ValueError as error:
            hidden = report.hidden(path)
            report.error(path, "expected METHOD PATH as WHO -> STATUS" if hidden else str(error))
    return tuple(tests)
