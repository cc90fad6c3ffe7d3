"""What the parsers of common backends make of a request target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote


def readings(target: str) -> Iterator[tuple[str, str]]:
    """Return each path that some common backend reads in a request target, and which backend."""
    path = re.sub(r"^[a-z][a-z0-9+.-]*://[^/?#]*", "", target, flags=re.IGNORECASE)
    path = re.split("[?#]", path)[0] or "/"
    decoded = unquote(path, encoding="latin-1")
    yield "RFC 3986", _without_dots(_with_plain_unreserved(path))
    yield "one that decodes everything", _lenient(decoded)
    yield "one that decodes twice", _lenient(unquote(decoded, encoding="latin-1"))
    yield "one that cuts parameters", _lenient(_without_parameters(decoded))
    yield (
        "one that cuts parameters first",
        _lenient(unquote(_without_parameters(path), encoding="latin-1")),
    )


def _with_plain_unreserved(path: str) -> str:
    def plain(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return character if re.match("[A-Za-z0-9._~-]", character) else found[0]

    return re.sub("%([0-9a-fA-F]{2})", plain, path)


def _without_parameters(path: str) -> str:
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def _lenient(decoded: str) -> str:
    path = re.split("[?#]", decoded)[0].replace("\\", "/")
    return _without_dots(re.sub("/+", "/", path))


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept) or "/"
