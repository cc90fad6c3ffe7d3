"""Which values are secret, and ``{file: path}`` in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from gateway.config.report import Report
from gateway.config.source import Path

_SECRETS: tuple[Path, ...] = (
    ("session", "store"),  # its URL may hold a password
    ("session", "secret"),
    ("server", "admin", "token"),
)
_LONGEST = 64 * 1024


def read_secrets(data: dict[str, Any], folder: FilePath, report: Report) -> None:
    """Replace every ``{file: path}`` where a secret is expected by what the file holds.

    One line end at the end of the file is dropped. From here on none of these values is shown.

    Args:
        folder: What a relative path is relative to.
    """
    for holder, key, path in _places(data):
        value = holder[key]
        if isinstance(value, dict):
            value = _read(value, folder, path, report)
            holder[key] = value
        report.hide(path)


def _places(data: dict[str, Any]) -> Iterator[tuple[Any, Any, Path]]:
    for path in _SECRETS:
        holder: Any = data
        for part in path[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or path[-1] not in holder:
            continue
        value = holder[path[-1]]
        if isinstance(value, list) and path == ("session", "secret"):
            yield from ((value, index, (*path, index)) for index in range(len(value)))
        else:
            yield holder, path[-1], path
    yield from _header_values(data)
    yield from _accepted(data)


def _accepted(data: dict[str, Any]) -> Iterator[tuple[Any, Any, Path]]:
    """Yield what opens sessions of other frameworks, and where these are kept."""
    session = data.get("session")
    entries = session.get("accept") if isinstance(session, dict) else None
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        for name in ("secret", "password", "store"):
            if not isinstance(entry, dict) or name not in entry:
                continue
            path = ("session", "accept", index, name)
            value = entry[name]
            if isinstance(value, list) and name == "secret":
                yield from ((value, at, (*path, at)) for at in range(len(value)))
            elif isinstance(value, dict) and name == "password" and set(value) != {"file"}:
                yield from ((value, key, (*path, key)) for key in value)
            else:
                yield entry, name, path


def _header_values(data: dict[str, Any]) -> Iterator[tuple[Any, Any, Path]]:
    """Yield what routes tell their upstreams in headers: credentials, often."""
    routes = data.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        holder = route
        for part in ("set_headers", "request"):
            holder = holder.get(part) if isinstance(holder, dict) else None
        for name in holder if isinstance(holder, dict) else ():
            yield holder, name, ("routes", index, "set_headers", "request", name)


def _read(value: dict[str, Any], folder: FilePath, path: Path, report: Report) -> str:
    name = value.get("file")
    if set(value) != {"file"} or not isinstance(name, str) or not name or "\0" in name:
        report.error(path, "expected text or {file: path}")
        return ""
    where = (*path, "file")
    try:
        raw = (folder / name).read_bytes()[: _LONGEST + 1]
        text = raw.decode()
    except OSError as error:
        report.error(where, f"cannot read the file: {error.strerror or 'no such file'}")
    except UnicodeDecodeError:
        report.error(where, "the file is not UTF-8 text")
    else:
        text = text.removesuffix("\n").removesuffix("\r")
        if not text.strip():
            report.error(where, "the file is empty")
        elif len(raw) > _LONGEST:
            report.error(where, "the file is longer than 64 KiB")
        else:
            report.hide(path, "a file")
            return text
    return ""
