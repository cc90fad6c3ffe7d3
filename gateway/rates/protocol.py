"""What the pipeline asks of whoever counts requests."""

from __future__ import annotations

from typing import Protocol

from gateway.model import RateLimit


class Rates(Protocol):
    """Counts requests. Never fails: an outage of what keeps the counts refuses nobody."""

    async def count(self, key: str, limit: RateLimit) -> float:
        """Count a request and return 0; or return the seconds to wait, and count nothing."""
        ...

    async def close(self) -> None:
        """Let go what is held."""
        ...
