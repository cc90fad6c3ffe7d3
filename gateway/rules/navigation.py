"""Whether a person waits for a page, or a program for data."""

from __future__ import annotations

import re

# RFC 9110 section 12.4.2: a weight of 0 means "not acceptable"; what is no weight counts as none.
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_FRAMES = frozenset({"document", "iframe", "frame"})


def is_navigation(
    method: str,
    *,
    fetch_mode: str | None,
    fetch_dest: str | None,
    requested_with: str | None,
    accept: str | None,
) -> bool:
    """Tell a page request from an API call: ``when_denied: auto``.

    What the browser itself says in ``Sec-Fetch-Mode`` and ``Sec-Fetch-Dest`` decides, for no
    script can set these; then ``X-Requested-With``, then whether ``Accept`` names HTML. ``*/*``
    is what programs send. Nobody reads the answer to OPTIONS.
    """
    if method == "OPTIONS":
        return False
    if fetch_mode or fetch_dest:
        return fetch_mode == "navigate" or fetch_dest in _FRAMES
    if requested_with and requested_with.strip().lower() == "xmlhttprequest":
        return False
    return accept is not None and any(map(_is_page, accept.lower().split(",")))


def _is_page(media_range: str) -> bool:
    media_type, *parameters = (part.strip() for part in media_range.split(";"))
    if media_type not in _PAGES:
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q" and not (_WEIGHT.fullmatch(value) and value.strip("0.")):
            return False
    return True
