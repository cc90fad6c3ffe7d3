"""From the URL of the session store to what counts requests."""

from __future__ import annotations

from collections.abc import Callable

from gateway.rates.memory import MemoryRates
from gateway.rates.protocol import Rates


def open_rates(
    url: str, *, timeout: float, clock: Callable[[], float], failed: Callable[[], None]
) -> Rates:
    """Return a counter that is shared where the session store is in Redis, else of this process.

    Args:
        timeout: Seconds the store may take.
        clock: Returns seconds; never goes back.
        failed: Told of each time that the store did not answer.
    """
    alone = MemoryRates(clock)
    if not url.startswith(("redis://", "rediss://")):
        return alone
    from gateway.rates.redis import RedisRates  # the library costs 80 ms

    return RedisRates(url, timeout=timeout, alone=alone, failed=failed)
