"""Requests counted in Redis, together with every other process that uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.model import RateLimit
from gateway.rates.protocol import Rates
from gateway.redis.link import Command, Refused
from gateway.redis.script import Script
from gateway.redis.servers import Servers
from gateway.rules.limits import Window, wait

log = structlog.get_logger()

_PREFIX = "gateway:rate:"

# Under the key lies how many came in the window before and in the present one. When that began, the
# key's own expiry tells: two windows later. So no clock is asked, and nothing is to be tidied.
# Answers with what was counted where a request is one too many, as `rules.limits.wait` has it.
_COUNT = Script("""
local length, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local left = redis.call('PTTL', KEYS[1])
local before, now = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
before, now = tonumber(before), tonumber(now)
local another = true
if not now or left < 0 then before, now, left = 0, 0, 2 * length
elseif left <= length then before, now, left = now, 0, left + length
else another = false end
local rest = left - length
if math.floor(before * rest / length) + now >= most then return {before, now, rest} end
local value = string.format('%.0f %.0f', before, now + 1)
if another then redis.call('SET', KEYS[1], value, 'PX', left)
else redis.call('SET', KEYS[1], value, 'KEEPTTL') end
return false
""")


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
        self, servers: Servers, *, timeout: float, alone: Rates, failed: Callable[[], None]
    ) -> None:
        self._servers = servers
        self._timeout = timeout
        self._alone = alone
        self._failed = failed
        self._away_until = 0.0
        self._away = False

    async def count(self, key: str, limit: RateLimit) -> float:
        """Count a request and return 0; or return the seconds to wait, and count nothing."""
        clock = asyncio.get_running_loop().time
        if clock() < self._away_until:
            return await self._alone.count(key, limit)
        try:
            async with asyncio.timeout(self._timeout):
                seconds = await self._count(key, limit)
        except (Refused, OSError) as error:
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
        await self._servers.close()

    async def _count(self, key: str, limit: RateLimit) -> float:
        name = f"{_PREFIX}{key}:{limit.window}"
        count: Command = ("EVALSHA", _COUNT, 1, name, limit.window * 1000, limit.requests)
        [answer] = await self._servers.run([count])
        if isinstance(answer, Refused):
            raise answer
        if answer is None:
            return 0.0
        before, now, left = answer
        return wait(limit, Window(before, now, left / 1000)) or 0.001


def _why(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, TimeoutError) else str(error)
