"""What upstreams are told about where a request came from."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.errors import ClientError
from gateway.rules.forwarded import forwarded_element
from gateway.rules.targets import host_name

# RFC 7239 section 4, with what proxies write without the quotes that it asks for: `for=[::1]:80`.
# A proxy may pass on what its client invented, and an open quote would swallow what we add.
_PAIR = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+=(?:[^\x00-\x20\",;\\\x7f]+|\"(?:[^\"\\]|\\.)*\")"
_ELEMENTS = re.compile(rf"{_PAIR}(?:[ \t]*[;,][ \t]*{_PAIR})*")


def provenance_block(
    *,
    peer: str,
    chain: Sequence[str],
    elements: Sequence[str],
    host: str,
    proto: str,
) -> bytes:
    """Return ``X-Forwarded-*`` and ``Forwarded`` as they stand on the wire.

    Args:
        peer: Who holds the connection; empty for a Unix socket.
        chain: Values of ``X-Forwarded-For`` from a trusted peer; of any other, nothing.
        elements: Values of ``Forwarded``, likewise; one that cannot be read drops them all.
        host: What ``Host`` said, port included; empty where there was none.
        proto: ``http`` or ``https``, as the user sees it.
    """
    addresses = ", ".join([*chain, *([peer] if peer else [])])
    # An IPv6 host has colons inside its brackets.
    _, colon, port = host.rpartition(":") if not host.endswith("]") else ("", "", "")
    if not all(map(_ELEMENTS.fullmatch, elements)):
        elements = ()
    lines = [
        f"X-Forwarded-For: {addresses}" if addresses else "",
        f"X-Forwarded-Proto: {proto}",
        f"X-Forwarded-Host: {host}" if host else "",
        f"X-Forwarded-Port: {port if colon else ('443' if proto == 'https' else '80')}",
        "Forwarded: " + ", ".join([*elements, forwarded_element(peer, host, proto)]),
    ]
    return "".join(f"{line}\r\n" for line in lines if line).encode("utf-8", "surrogateescape")


def believed_host(forwarded_host: str | None, host: str) -> str:
    """Return the host the user sees: what a trusted proxy says of it, where it is a host at all."""
    if not forwarded_host:
        return host
    name = forwarded_host.split(",")[0].strip()
    try:
        host_name(name)
    except ClientError:
        return host
    return name


def believed_proto(forwarded_proto: str | None, proto: str) -> str:
    """Return the scheme the user sees: what a trusted proxy says of it, where it is one at all."""
    said = (forwarded_proto or "").split(",")[0].strip().lower()
    return said if said in ("http", "https") else proto
