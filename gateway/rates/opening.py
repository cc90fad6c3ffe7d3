"""From the URL of the session store to what counts requests."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import StoreUnavailable
from gateway.rates.memory import MemoryRates
from gateway.rates.protocol import Rates
from gateway.rules.redis_urls import is_redis, parse_redis_url


def open_rates(
    url: str, *, timeout: float, clock: Callable[[], float], failed: Callable[[], None]
) -> Rates:
    """Return a counter that is shared where the session store is in Redis, else of this process.

    Args:
        timeout: Seconds the store may take.
        clock: Returns seconds; never goes back.
        failed: Told of each time that the store did not answer.

    Raises:
        StoreUnavailable: The store cannot be used as its URL says.
    """
    alone = MemoryRates(clock)
    if not is_redis(url):
        return alone
    from gateway.rates.redis import RedisRates
    from gateway.redis.deployments import open_servers

    try:
        servers = open_servers(parse_redis_url(url), timeout)
    except ValueError as exc:
        raise StoreUnavailable(f"session.store is not a Redis URL: {exc}") from None
    return RedisRates(servers, timeout=timeout, alone=alone, failed=failed)
