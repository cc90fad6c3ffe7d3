"""What a route's header fields and rate limit may not be, beside the rest of the file."""

from __future__ import annotations

from collections.abc import Collection

from gateway.config.report import Report
from gateway.config.route_settings import RouteSettings
from gateway.config.source import Path
from gateway.model import Access
from gateway.rules.headers import fold
from gateway.rules.identity import REQUEST_ID

_SAID_BY_US = frozenset({fold(REQUEST_ID), "TRACEPARENT"})


def check_shaping(
    path: Path,
    settings: RouteSettings,
    access: Access,
    identity_headers: Collection[str],
    report: Report,
) -> None:
    """Note what contradicts itself, or what only the gateway may say.

    Args:
        identity_headers: Their names, folded.
    """
    _check_names(path, settings, identity_headers, report)
    _check_cors(path, settings, report)
    limit = settings.rate_limit
    if limit is not None and access is Access.PUBLIC and limit.by in ("user", "session"):
        report.error(
            (*path, "rate_limit", "by"),
            "with access: public nobody is asked who they are: expected address, not %v",
        )


def _check_names(
    path: Path, settings: RouteSettings, identity_headers: Collection[str], report: Report
) -> None:
    message = "the gateway says this itself, on every request or of everybody who is signed in"
    ours = _SAID_BY_US.union(identity_headers)
    alike = "another name here differs from this one in case or punctuation only"
    twice = "the route removes this header, and sets it too: to set it is enough"
    for name in settings.set_headers.request:
        if fold(name) in ours:
            report.error((*path, "set_headers", "request", name), message, key=True)
    for index, name in enumerate(settings.remove_headers.request):
        if fold(name) in ours:
            report.error((*path, "remove_headers", "request", index), message)
    for side in ("request", "response"):
        is_set: set[str] = set()
        for name in getattr(settings.set_headers, side):
            if fold(name) in is_set:
                report.error((*path, "set_headers", side, name), alike, key=True)
            is_set.add(fold(name))
        for index, name in enumerate(getattr(settings.remove_headers, side)):
            if fold(name) in is_set:
                report.error((*path, "remove_headers", side, index), twice)


def _check_cors(path: Path, settings: RouteSettings, report: Report) -> None:
    cors = settings.cors
    if cors is None or not cors.credentials:
        return
    for key in ("origins", "headers", "expose"):
        names = getattr(cors, key)
        if "*" in names:
            # A single origin may stand there without brackets.
            where = (*path, "cors", key, names.index("*"))
            report.error(where, "browsers take no * together with credentials: name each")
