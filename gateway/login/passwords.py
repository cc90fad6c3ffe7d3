"""Checks passwords against argon2id hashes, a few at a time.

A check costs some 100 ms and 64 MiB on purpose. So it runs in threads, of which there are few,
and what would wait behind too many others is refused at once instead of queued without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from gateway.errors import SignInBusy

LONGEST_PASSWORD = 1024
"""Bytes. Nobody's password is longer, and hashing megabytes would keep a thread busy for free."""

_THREADS = 2
_WAITING = 32
"""Checks under way or waiting: with two threads the last one waits about two seconds."""

_ANY_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$bm9ib2R5IGlzIGhlcmU$bm90aGluZyBoYXNoZXMgdG8gdGhlc2UgMzIgYnl0ZXM"
)
"""No password is known that hashes to this."""

_ARGON2ID = "$argon2id$"

log = structlog.get_logger(__name__)


def decoy(hashes: Iterable[str]) -> str:
    """Return a hash that nothing matches and that costs what the costliest of these costs.

    It is checked for users that do not exist, so that an answer's time does not tell who does.
    """
    costliest, cost = _ANY_HASH, 0
    for text in hashes:
        if not text.startswith(_ARGON2ID):
            continue
        try:
            parameters = extract_parameters(text)
        except InvalidHashError:
            continue
        if parameters.memory_cost * parameters.time_cost > cost:
            cost = parameters.memory_cost * parameters.time_cost
            costliest = "$".join([*text.split("$")[:4], *_ANY_HASH.split("$")[4:]])
    return costliest


def plausible(password: str) -> bool:
    """Whether it is worth hashing: not empty, and no longer than ``LONGEST_PASSWORD``."""
    return 0 < len(password.encode("utf-8", "surrogatepass")) <= LONGEST_PASSWORD


class Passwords:
    """A bounded pool of threads that check passwords. Owned by whoever closes it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="passwords")
        self._hasher = PasswordHasher()
        self._under_way = 0

    async def matches(self, password_hash: str, password: str) -> bool:
        """Whether this is the password.

        False as well for a hash that cannot be read, which is logged, and for a password that is
        not ``plausible``, which is not hashed at all.

        Raises:
            SignInBusy: Too many others wait already.
        """
        if not plausible(password):
            return False
        if self._under_way >= _WAITING:
            raise SignInBusy("too many passwords wait to be checked")
        self._under_way += 1
        future = self._pool.submit(self._verify, password_hash, password)
        loop = asyncio.get_running_loop()
        # A client that leaves does not stop its check: the place is free when the thread is.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the checks under way end, and start no other."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self) -> None:
        self._under_way -= 1

    def _verify(self, password_hash: str, password: str) -> bool:
        if not password_hash.startswith(_ARGON2ID):
            log.error("password_hash_unreadable", problem="not an argon2id hash")
            return False
        try:
            return self._hasher.verify(password_hash, password.encode("utf-8", "surrogatepass"))
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeError) as error:
            log.error("password_hash_unreadable", problem=type(error).__name__)
            return False
