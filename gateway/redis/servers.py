"""Which Redis server has to be asked: what there is to know, and the case that it is only one."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.redis.link import Command, Greeting, Refused
from gateway.redis.node import Node
from gateway.rules.redis_urls import Deployment, RedisUrl


class Servers(Protocol):
    """The servers that hold the sessions. Every method raises ``OSError`` or ``Refused``."""

    heartbeat: Command
    """Asked again and again on a connection that is otherwise silent."""

    def is_well(self, answer: Any) -> bool:
        """Whether a server that answers the heartbeat so may be believed."""
        ...

    def primaries(self) -> Sequence[Node]:
        """Return the servers that sessions are on, as far as is known now."""
        ...

    async def values(self, names: Sequence[str]) -> list[Any]:
        """Return what is under each name, in order, with one round trip to each server."""
        ...

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers to commands on one key each, in order; errors are among them."""
        ...

    async def ping(self) -> None:
        """Return if sessions can be read and written."""
        ...

    async def refresh(self) -> None:
        """Look who the primaries are now."""
        ...

    def on_change(self, told: Callable[[], None]) -> None:
        """Call this whenever other servers are primaries, or for other sessions, than before."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def greeting(url: RedisUrl) -> Greeting:
    """Return what a connection to a server at this URL says first.

    Raises:
        ValueError: A file is missing or holds no certificate.
    """
    return Greeting(
        tls=_tls(url) if url.tls else None,
        username=url.username,
        password=url.password,
        database=url.database,
        primary_only=url.deployment is Deployment.SENTINEL,
    )


class OneServer:
    """A single server, whatever becomes of it."""

    heartbeat: Command = ("PING",)

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._node = Node(url.hosts[0], greeting(url), timeout)

    def is_well(self, answer: Any) -> bool:
        """Any answer will do."""
        return True

    def primaries(self) -> Sequence[Node]:
        """Return the server."""
        return (self._node,)

    async def values(self, names: Sequence[str]) -> list[Any]:
        """Return what is under each name."""
        [values] = await self.run([("MGET", *names)])
        if isinstance(values, Refused):
            raise values
        found: list[Any] = values
        return found

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Ask, and once more where the connection ends meanwhile, as it does when Redis restarts.

        Every command may be carried out twice.
        """
        try:
            return await self._node.run(commands)
        except ConnectionResetError:
            return await self._node.run(commands)

    async def ping(self) -> None:
        """Return if the server answers."""
        [answer] = await self.run([("PING",)])
        if isinstance(answer, Refused):
            raise answer

    async def refresh(self) -> None:
        """Do nothing: it is always this one."""

    def on_change(self, told: Callable[[], None]) -> None:
        """Do nothing, likewise."""

    async def close(self) -> None:
        """Close the connection."""
        await self._node.close()


def _tls(url: RedisUrl) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=url.ca)
        context.check_hostname = url.check_hostname
        if url.cert is not None:
            context.load_cert_chain(url.cert, url.key)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"session.store: a file for TLS cannot be used: {exc}") from None
    return context
