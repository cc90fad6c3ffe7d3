"""Slows down whoever guesses passwords: after a few failures, each further one doubles the wait."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

FREE_FAILURES = 5
"""Wrong passwords that cost no wait: people mistype."""

FIRST_WAIT = 2.0
LONGEST_WAIT = 900.0

REMEMBERED_FOR = 4 * 3600.0
"""After the last failure. Longer than the longest wait, or waiting would give a fresh start."""

_REMEMBERED = 10_000
"""Pairs of user and address. To push one out, this many others must fail first, and each failure
costs the guesser a password check: all together some ten minutes."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Throttle:
    """Counts failed sign-ins per user and client address, in memory, in this process.

    An attempt counts as failed from its beginning until ``succeeded`` or ``withdraw``: many that
    begin at once would otherwise all pass before the first of them fails.
    """

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], _Failures] = {}

    def wait(self, user_id: str, client: str, now: float) -> float:
        """Return 0 and count an attempt, or return the seconds until one is allowed.

        ``now`` is of any clock that never goes back.
        """
        key = _key(user_id, client)
        failures = self._failures.pop(key, None)
        if failures is None or now - failures.last >= REMEMBERED_FOR:
            failures = _Failures(0, now)
        self._failures[key] = failures  # at the end: the dict stays in the order of last use
        if len(self._failures) > _REMEMBERED:
            del self._failures[next(iter(self._failures))]
        over = min(failures.count - FREE_FAILURES, 10)  # 2 ** 10 is beyond the longest wait
        if over >= 0:
            remaining = failures.last + min(FIRST_WAIT * 2.0**over, LONGEST_WAIT) - now
            if remaining > 0:
                return remaining
        failures.count += 1
        failures.last = now
        return 0.0

    def succeeded(self, user_id: str, client: str) -> None:
        """Forget the failures of somebody who knew the password."""
        self._failures.pop(_key(user_id, client), None)

    def withdraw(self, user_id: str, client: str) -> None:
        """Take back an attempt whose password was not checked."""
        key = _key(user_id, client)
        failures = self._failures.get(key)
        if failures is not None:
            failures.count -= 1
            if failures.count <= 0:
                del self._failures[key]


def _key(user_id: str, client: str) -> tuple[str, str]:
    # One household or server has a whole /64 of IPv6 to guess from.
    try:
        address = ip_address(client)
    except ValueError:
        return user_id, client
    if isinstance(address, IPv6Address):
        client = str(int(address) >> 64)
    return user_id, client
