"""Opening connections to one target: name, address, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aiohappyeyeballs

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.model import Target, Upstream, UpstreamTls
from gateway.upstream.connection import UpstreamConnection

_NEXT_ADDRESS = 0.25  # RFC 8305 section 8: how long one address may keep the next one waiting

AddressInfo = tuple[int, int, int, str, Any]
"""As ``socket.getaddrinfo`` returns them: family, kind, protocol, name, socket address."""


class Resolver(Protocol):
    """Knows the addresses of names."""

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return a host's addresses, the best first. ``OSError`` where there is none."""


class SystemResolver:
    """Asks the operating system, every time: it knows how long an answer holds."""

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return what ``getaddrinfo`` finds."""
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def tls_context(tls: UpstreamTls) -> ssl.SSLContext:
    """Return what connections of an upstream have in common.

    Raises:
        OSError: A file cannot be read, or is not what it should be.
    """
    context = ssl.create_default_context(cafile=tls.ca)
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        # The empty password keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(tls.cert, tls.key, password="")
    return context


class Dialer:
    """Opens connections to one target.

    A name is resolved anew for each connection; of several addresses the next one is tried while
    the one before keeps silent (RFC 8305).

    Args:
        context: For ``https``; None: for a target without TLS.
    """

    def __init__(
        self,
        upstream: Upstream,
        target: Target,
        context: ssl.SSLContext | None,
        resolver: Resolver,
    ) -> None:
        self.target = target
        self._name = upstream.name
        self._limit = upstream.timeouts.connect
        self._context = context if target.scheme == "https" else None
        self._resolver = resolver
        self._server_name = upstream.tls.server_name or target.host
        self.named = target.scheme != "unix" and not _is_address(target.host)
        """Whether the target's address may change."""

    async def dial(self, make: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        """Open a connection.

        Raises:
            UpstreamUnreachable: Refused, no route, no such host, or TLS failed.
            UpstreamTimeout: Not within ``timeouts.connect``.
        """
        try:
            async with asyncio.timeout(self._limit):
                return await self._dial(make)
        except TimeoutError as exc:
            raise UpstreamTimeout(
                f"upstream {self._name}: no connection to {self.target} within {self._limit:g} s"
            ) from exc
        # UnicodeError: a label that IDNA cannot encode; RuntimeError: uvloop's for a socket
        # that cannot be connected.
        except (OSError, UnicodeError, RuntimeError) as exc:
            raise UpstreamUnreachable(f"upstream {self._name}: {self.target}: {exc}") from exc

    async def _dial(self, make: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        target, context = self.target, self._context
        server_name = None if context is None else self._server_name
        if target.scheme == "unix":
            _, connection = await loop.create_unix_connection(make, target.path)
            return connection
        host, port = target.host, target.port
        if self.named:
            found = await self._resolver.resolve(host, port)
            if len(found) > 1:
                sock = await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=_NEXT_ADDRESS
                )
                try:
                    _, connection = await loop.create_connection(
                        make, sock=sock, ssl=context, server_hostname=server_name
                    )
                except BaseException:
                    sock.close()
                    raise
                return connection
            if not found:
                raise OSError("the name has no address")
            host, port = found[0][4][0], found[0][4][1]
        _, connection = await loop.create_connection(
            make, host, port, ssl=context, server_hostname=server_name
        )
        return connection

    async def addresses(self) -> frozenset[str]:
        """Return the addresses that the target's name has now.

        Raises:
            OSError: None, or they cannot be had.
        """
        try:
            async with asyncio.timeout(self._limit):
                found = await self._resolver.resolve(self.target.host, self.target.port)
        except UnicodeError as exc:
            raise OSError("no name") from exc
        return frozenset(bare(info[4][0]) for info in found)


def bare(address: str) -> str:
    """Return an address without the interface that it may name."""
    return address.partition("%")[0]


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
