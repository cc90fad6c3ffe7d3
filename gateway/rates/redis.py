"""Requests counted in Redis, together with every other process that uses it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import lru_cache

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.model import RateLimit
from gateway.rates.protocol import Rates
from gateway.rules.limits import Window, wait

log = structlog.get_logger()

_PREFIX = "gateway:rate"
_CONNECTIONS = 32


class RedisRates:
    """Counts in Redis, in one atomic step a request; by ``alone`` while Redis does not answer.

    Refusing everybody would turn an outage of the counter into one of the application; counting
    alone still stops a flood. After a failure Redis is left in peace for as long as it was given
    to answer, so that no more than one request in that time waits for it in vain.

    Args:
        timeout: Seconds Redis may take.
        alone: Counts meanwhile.
        failed: Told of each time that Redis did not answer.
    """

    def __init__(
        self, url: str, *, timeout: float, alone: Rates, failed: Callable[[], None]
    ) -> None:
        self._timeout = timeout
        self._alone = alone
        self._failed = failed
        self._pool = aioredis.ConnectionPool.from_url(
            url,
            socket_timeout=None,  # ours covers a whole call
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type]
        )
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._away_until = 0.0
        self._away = False

    async def count(self, key: str, limit: RateLimit) -> float:
        """Count a request and return 0; or return the seconds to wait, and count nothing."""
        clock = asyncio.get_running_loop().time
        if clock() < self._away_until:
            return await self._alone.count(key, limit)
        try:
            async with asyncio.timeout(self._timeout), self._places:
                seconds = await self._count(_item(limit).key_for(key), limit)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed()
            self._away_until = clock() + self._timeout
            if not self._away:
                self._away = True
                log.warning("rate limits are not shared: Redis does not answer", detail=_why(error))
            return await self._alone.count(key, limit)
        if self._away:
            self._away = False
            log.info("rate limits are shared again")
        return seconds

    async def close(self) -> None:
        """Close every connection."""
        await self._alone.close()
        with contextlib.suppress(RedisError, OSError):
            await self._pool.aclose()

    async def _count(self, name: str, limit: RateLimit) -> float:
        # Not through limits' own strategy: its word on when to come again is too early.
        length = limit.window
        if await self._storage.acquire_sliding_window_entry(name, limit.requests, length):
            return 0.0
        before, before_left, now, now_left = await self._storage.get_sliding_window(name, length)
        left = before_left or max(0.0, now_left - length)
        return wait(limit, Window(before, now, left)) or 0.001


@lru_cache(maxsize=1024)
def _item(limit: RateLimit) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(limit.requests, limit.window, "sliding")


def _why(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, TimeoutError) else str(error)
