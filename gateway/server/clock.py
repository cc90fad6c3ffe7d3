"""What the pipeline is handed instead of reading it itself: the time, and ids for requests."""

from __future__ import annotations

import secrets
import time
from email.utils import formatdate


class Clock:
    """The time of day, and ``Date`` written once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._date = b""

    @staticmethod
    def wall() -> float:
        """Return Unix seconds."""
        return time.time()

    def date(self) -> bytes:
        """Return the value of ``Date`` for now (RFC 9110 section 5.6.7)."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
        return self._date


class RequestIds:
    """Ids that tell this process's requests from all others: a random part and a number."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._number = 0

    def new(self) -> str:
        """Return the next one."""
        self._number += 1
        return f"{self._prefix}{self._number:08x}"
