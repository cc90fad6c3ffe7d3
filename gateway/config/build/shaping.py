"""What a route's header fields and rate limit may not be, beside the rest of the file."""

from __future__ import annotations

from collections.abc import Collection

from gateway.config.report import Report
from gateway.config.route_settings import RouteSettings
from gateway.config.source import Path
from gateway.model import Access
from gateway.rules.headers import fold


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
    message = "this is an identity header: only the gateway says who asks"
    twice = "the route removes this header, and sets it too: to set it is enough"
    for name in settings.set_headers.request:
        if fold(name) in identity_headers:
            report.error((*path, "set_headers", "request", name), message, key=True)
    for index, name in enumerate(settings.remove_headers.request):
        if fold(name) in identity_headers:
            report.error((*path, "remove_headers", "request", index), message)
    for side in ("request", "response"):
        is_set = {fold(name) for name in getattr(settings.set_headers, side)}
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
