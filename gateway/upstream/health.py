"""Active health checks: one target asked again and again whether it can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.errors import GatewayError, UpstreamTimeout
from gateway.model import HealthCheck
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import NEVER, Deadlines
from gateway.upstream.dialing import Dialer
from gateway.upstream.driving import with_futures


class Checks:
    """Asks one target, over a new connection each time: also whether it takes new ones.

    Args:
        outcome: Told after each check what was wrong; None: nothing.
    """

    def __init__(
        self,
        check: HealthCheck,
        dialer: Dialer,
        deadlines: Deadlines,
        outcome: Callable[[str | None], None],
    ) -> None:
        self._check = check
        self._dialer = dialer
        self._deadlines = deadlines
        self._outcome = outcome
        self._task: asyncio.Task[None] | None = None
        self._request = (
            f"GET {check.path} HTTP/1.1\r\nHost: {dialer.target.authority}\r\n"
            "User-Agent: session-gateway (health check)\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        ).encode()

    def start(self) -> None:
        """Begin; the first check is made at once."""
        self._task = asyncio.get_running_loop().create_task(self._for_ever())

    def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _for_ever(self) -> None:
        while True:
            self._outcome(await self.problem())
            await asyncio.sleep(self._check.interval)

    async def problem(self) -> str | None:
        """Check once; return what is wrong. 2xx and 3xx are well."""
        limit = self._check.timeout
        try:
            async with asyncio.timeout(limit):
                status = await self._ask(limit)
        except TimeoutError:
            return f"the health check got no answer within {limit:g} s"
        except UpstreamTimeout:
            return "the health check could not connect in time"
        except GatewayError as error:
            return str(error.__cause__ or error)
        return None if 200 <= status < 400 else f"the health check was answered with {status}"

    async def _ask(self, limit: float) -> int:
        connection = await self._dialer.dial(
            lambda: UpstreamConnection(self._deadlines, lambda _: None)
        )
        try:
            connection.ask(self._request, limit, is_head=False, on_interim=None)
            await with_futures(connection.answered())
            if connection.response is None:
                raise connection.failure or UpstreamTimeout
            return connection.response.status
        finally:
            connection.deadline = NEVER
            connection.spoil()
            connection.end()
