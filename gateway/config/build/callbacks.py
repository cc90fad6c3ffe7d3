"""``callbacks:``."""

from __future__ import annotations

from pathlib import Path

from gateway.config.python_code import OwnCallbacks
from gateway.config.report import Report


def build_callbacks(where: str | None, folder: Path, report: Report) -> OwnCallbacks | None:
    """Return the operator's callbacks; the module is run for it."""
    if where is None:
        return None
    try:
        return OwnCallbacks(where, folder)
    except ValueError as exc:
        report.error(("callbacks",), str(exc))
    return None
