"""What a request needs of an upstream, whatever stands behind it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

from gateway.model import TargetStatus, Upstream
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.dialing import Dialer, Resolver, tls_context
from gateway.upstream.pool import Pool
from gateway.upstream.targets import Targets


class Lender(Protocol):
    """Lends connections to an upstream. ``Pool`` is the plain one, ``Targets`` the other."""

    @property
    def upstream(self) -> Upstream:
        """The upstream as it was configured."""

    @property
    def total(self) -> float | None:
        """Seconds that a whole exchange may take; None: no limit."""

    @property
    def deadlines(self) -> Deadlines:
        """Watches the connections."""

    @property
    def rehosts(self) -> bool:
        """Whether a ``Host`` that names a target has to be the one that ``authority`` returns."""

    def take(self, *, repeatable: bool) -> UpstreamConnection | None:
        """Return a connection that is there at once and needs no choice.

        Args:
            repeatable: Whether the request may be sent again should the connection turn out dead.
        """

    async def lend(self, affinity: str, *, repeatable: bool) -> UpstreamConnection:
        """Return a connection, where ``take`` had none: chosen, waited for, opened.

        Args:
            affinity: Who asks: requests with the same one go to the same target, if that is wanted.

        Raises:
            UpstreamError: There is none to be had. Nothing was sent.
        """

    async def instead(
        self, connection: UpstreamConnection, affinity: str
    ) -> UpstreamConnection | None:
        """Give a connection back whose request, which may be repeated, got no byte of an answer.

        Return a new one for it, or None where it is not to be sent again; then the connection
        still has to be given back.
        """

    def give_back(self, connection: UpstreamConnection) -> None:
        """End a connection's exchange; more than once does no harm."""

    def authority(self, connection: UpstreamConnection) -> bytes:
        """Return the ``Host`` of the target that a lent connection goes to."""

    def counts(self) -> tuple[int, int]:
        """Return how many connections are busy, and how many idle."""

    def waiting(self) -> int:
        """How many requests wait for a connection."""

    def targets(self) -> list[TargetStatus]:
        """Return how the targets stand, where there is a choice between them."""

    async def problems(self) -> tuple[list[str], bool]:
        """Say which targets cannot be used now and why, and whether one is left."""

    def start(self) -> None:
        """Begin to look after the targets."""

    def close(self) -> None:
        """Close idle connections now, and those in use when they come back."""


def lender(
    upstream: Upstream,
    deadlines: Deadlines,
    resolver: Resolver,
    on_change: Callable[..., None],
) -> Lender:
    """Return what lends connections to an upstream; ``start`` and ``close`` are the caller's.

    Args:
        on_change: Told when a target goes or comes back: ``event``, ``upstream``, ``target``, and
            ``why`` or ``seconds``.

    Raises:
        OSError: A file of ``tls`` cannot be used.
    """
    context: ssl.SSLContext | None = None
    if any(target.scheme == "https" for target in upstream.targets):
        context = tls_context(upstream.tls)  # once: reading the system's CAs takes 10 ms
    dialers = [Dialer(upstream, target, context, resolver) for target in upstream.targets]
    if len(dialers) == 1 and upstream.health is None and upstream.max_connections is None:
        return Pool(upstream, deadlines, dialers[0])
    return Targets(upstream, deadlines, dialers, on_change)
