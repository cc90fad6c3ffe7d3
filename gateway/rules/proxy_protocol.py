"""The PROXY protocol, versions 1 and 2: who the client is, as a balancer says before all else.

What is read here comes from a trusted proxy, and still nothing in it is believed to be well made.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

LONGEST = 4096
"""Bytes a header may have. Balancers add TLVs of some hundred bytes; version 2 could say 64 KiB."""

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
_V1 = b"PROXY "
_V1_LONGEST = 107
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\r\n")
_V1_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]+) ([0-9]+)\r\n")
_V1_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_SIZES = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}


class BadProxyHeader(ValueError):
    """What came is no header of the PROXY protocol, or one that breaks its rules."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header that was read."""

    source: str | None
    """The client's address; None: the proxy speaks for itself, or does not know."""
    length: int
    """Bytes that the header takes; what follows is the connection's own."""


def read(data: bytes) -> ProxyHeader | None:
    """Read the header that a connection begins with; None while more bytes are needed.

    Args:
        data: What has come so far.

    Raises:
        BadProxyHeader: However it goes on, this is no header.
    """
    start = data[: len(_V2)]
    if start == _V2:
        return _read_v2(data)
    if start == _V2[: len(start)]:
        return None
    if data[: len(_V1)] == _V1[: len(data)]:
        return _read_v1(data)
    raise BadProxyHeader("neither PROXY nor the signature of version 2")


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, _V1_LONGEST) + 1
    if not end:
        if len(data) >= _V1_LONGEST:
            raise BadProxyHeader("a line of more than 107 bytes")
        return None
    line = data[:end]
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(None, end)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise BadProxyHeader("a line that does not read PROXY TCP4 or TCP6, addresses and ports")
    family, source, destination, *ports = match.groups()
    if not all(_V1_PORT.fullmatch(port) and int(port) <= 0xFFFF for port in ports):
        raise BadProxyHeader("a port that is none")
    kind = IPv4Address if family == b"TCP4" else IPv6Address
    try:
        kind(destination.decode())
        return ProxyHeader(_usual(kind(source.decode())), end)
    except ValueError:
        raise BadProxyHeader("an address that is none") from None


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_FIXED:
        return None
    command, family, size = data[12], data[13] >> 4, int.from_bytes(data[14:16], "big")
    length = _V2_FIXED + size
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader("a version or command that there is not")
    if length > LONGEST:
        raise BadProxyHeader(f"a header of more than {LONGEST} bytes")
    if command == _PROXY and (family not in _SIZES or data[13] & 0xF > 2 or size < _SIZES[family]):
        raise BadProxyHeader("a family that there is not, or without room for its addresses")
    if len(data) < length:
        return None
    if command == _PROXY and family == _INET:
        return ProxyHeader(_usual(IPv4Address(data[16:20])), length)
    if command == _PROXY and family == _INET6:
        return ProxyHeader(_usual(IPv6Address(data[16:32])), length)
    return ProxyHeader(None, length)


def _usual(address: IPv4Address | IPv6Address) -> str:
    return str(getattr(address, "ipv4_mapped", None) or address)
