"""A cookie as somebody pastes it: no argument, which shells and process lists would keep."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field

LONGEST = 256 * 1024
"""Bytes of what is read: more than any browser sends."""
SECRET = "COOKIE_SECRET"  # noqa: S105 - a variable's name
"""Environment variable with the app's secret, for who has no terminal."""

_HEADER = re.compile(r"\s*(set-)?cookie\s*:", re.IGNORECASE)
_PAIR = re.compile(r"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+=")
_ERASE = (0x08, 0x7F)
_END_OF_TEXT = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """Cookies, or the value of one."""

    value: bytes = field(default=b"", repr=False)
    """Where no name is beside it."""
    cookies: dict[str, bytes] = field(default_factory=dict, repr=False)
    """By name. Of one that is there twice, one of its values: enough to say what it looks like."""
    twice: frozenset[str] = frozenset()


def parse(text: str) -> Pasted:
    """Return what a text holds: a value, ``name=value``, or whole ``Cookie`` and ``Set-Cookie``
    headers, one a line.
    """
    pairs = []
    for line in text.splitlines():
        header = _HEADER.match(line)
        rest = line if header is None else line[header.end() :]
        # What follows in Set-Cookie is no cookie, but says how long this one is kept.
        pairs.append((rest.partition(";")[0] if header is not None and header[1] else rest).strip())
    joined = "; ".join(filter(None, pairs))
    if not _PAIR.match(joined):
        return Pasted(value=joined.encode())
    cookies: dict[str, bytes] = {}
    twice = set()
    for part in joined.encode().split(b";"):
        raw, equals, content = part.partition(b"=")
        name = raw.strip().decode("latin-1")
        if equals and name in cookies:
            twice.add(name)
        if equals:
            cookies[name] = content.strip()
    return Pasted(cookies=cookies, twice=frozenset(twice))


def read() -> Pasted:
    """Read it from the terminal, where it is not shown, or from standard input."""
    if sys.stdin.isatty():
        raw = _typed("Cookie, as a value or as a header (it is not shown): ")
    else:
        raw = sys.stdin.buffer.read(LONGEST)
    return parse(raw.decode(errors="replace"))


def secret() -> str:
    """Return the app's secret, from the environment or from a terminal; empty: there is none."""
    from getpass import getpass

    given = os.environ.get(SECRET)
    if given is not None:
        return given
    try:
        # Where the cookie came through a pipe, there may still be somebody to ask.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return ""
    try:
        return getpass("The app's secret (nothing: go without): ")
    except EOFError:
        return ""


def _typed(prompt: str) -> bytes:
    """Read one line, of any length: a terminal that edits lines cuts them at 4095 characters."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    line = bytearray()
    try:
        tty.setcbreak(terminal)  # without echo, and no line editing
        print(prompt, end="", file=sys.stderr, flush=True)
        while len(line) < LONGEST:
            for byte in os.read(terminal, 4096) or bytes([_END_OF_TEXT]):
                if byte in b"\r\n" or byte == _END_OF_TEXT:
                    return bytes(line)
                if byte in _ERASE:
                    del line[-1:]
                else:
                    line.append(byte)
        return bytes(line)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        print(file=sys.stderr)
