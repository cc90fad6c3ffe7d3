"""How many clients are connected, and when there are enough of them."""

from __future__ import annotations

from gateway.server.turned_away import TurnedAway, Why


class Census:
    """Counts the open connections of a process.

    Args:
        limit: Connections altogether; None: as many as the system allows.
        per_address: Connections from one address; those on a Unix socket have none.
        turned_away: Told of every connection that is one too many.
    """

    def __init__(
        self, turned_away: TurnedAway, limit: int | None = None, per_address: int | None = None
    ) -> None:
        self._turned_away = turned_away
        self._limit = limit
        self._per_address = per_address
        self._count = 0
        self._by_address: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """Count a connection; False, and it does not count, if it is one too many."""
        if self._limit is not None and self._count >= self._limit:
            self._turned_away.add(Why.CONNECTIONS, peer=address)
            return False
        if self._per_address is not None and address:
            known = self._by_address.get(address, 0)
            if known >= self._per_address:
                self._turned_away.add(Why.PER_ADDRESS, peer=address)
                return False
            self._by_address[address] = known + 1
        self._count += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no more that ``enter`` has counted."""
        self._count -= 1
        if self._per_address is not None and address:
            left = self._by_address.pop(address) - 1
            if left:
                self._by_address[address] = left
