"""The requests that bypass-url-parser sends to reach a path which it may not reach.

It is under the AGPL: it runs as a program of its own, and what it prints is read anew each time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "bypass-url-parser"

ORIGIN = "http://127.0.0.1"
"""Of the URL that the program is given; it leaves out those whose host it cannot resolve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """A request, or part of one."""

    kind: str
    printed: str
    """The line in which the program says it."""
    target: str
    method: str = "GET"
    field: str = ""
    """A header line, if one makes the trick."""

    def request(self, host: str) -> bytes:
        """Return the request's bytes."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if not self.field.lower().startswith("host:"):
            lines.append(f"Host: {host}")
        if self.field:
            lines.append(self.field)
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@cache
def tricks(path: str) -> tuple[Trick, ...]:
    """Return all tricks against a protected path, but for the versions of HTTP that curl speaks."""
    command = [_installed(), "--url", ORIGIN + path, "--dump-payloads"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60, cwd=folder
        )
    found = [_read(line) for line in done.stdout.splitlines()]
    return tuple(trick for trick in found if trick.kind != "http_versions")


def forwarding_fields() -> list[str]:
    """Return the names of header fields that proxies write a client's address or scheme into."""
    kinds = {"http_headers_ip", "http_headers_port", "http_headers_scheme"}
    fields = {trick.field for trick in tricks("/admin") if trick.kind in kinds}
    return sorted({field.partition(":")[0] for field in fields})


def _installed() -> str:
    beside = Path(sys.executable).with_name(PACKAGE)
    if not beside.exists():
        pytest.fail(f"{PACKAGE} is needed by this test and not installed: make test installs it")
    return str(beside)


def _read(printed: str) -> Trick:
    """Read ``[kind] URL``, with ``-X METHOD`` or ``-H HEADER`` before the URL."""
    found = re.fullmatch(r"\[(\w+)\] (.*)", printed)
    assert found is not None, printed
    option, origin, target = found[2].rpartition(ORIGIN)
    assert origin, printed
    flag, _, value = option.strip().partition(" ")
    return Trick(
        kind=found[1],
        printed=printed,
        target=target or "/",
        method=value if flag == "-X" else "GET",
        field=value if flag == "-H" else "",
    )
