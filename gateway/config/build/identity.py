"""``identity:``."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.report import Report
from gateway.config.settings import IdentitySettings
from gateway.model import IdentityField
from gateway.rules.headers import fold
from gateway.rules.identity import REQUEST_ID


def build_identity(settings: IdentitySettings, report: Report) -> Mapping[str, IdentityField]:
    """Return the identity headers; no two may be one to an upstream that sees them as CGI does."""
    seen: dict[str, str] = {}
    own = fold(REQUEST_ID)
    for name in settings.headers:
        first = seen.setdefault(fold(name), name)
        if first != name:
            line = report.line(("identity", "headers", first))
            message = f"upstreams may take this for {first} in line {line}"
            report.error(("identity", "headers", name), message, key=True)
        if fold(name) == own and settings.headers[name] is not IdentityField.REQUEST_ID:
            message = "this header carries the request's id on every request"
            report.error(("identity", "headers", name), message, key=True)
    return settings.headers
