"""All who watch one store, as one."""

from __future__ import annotations

from gateway.model import SessionKey
from gateway.stores.protocol import Watcher


class Watchers(Watcher):
    """Passes on to each of them what it is told."""

    def __init__(self) -> None:
        self._each: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        """Tell this one as well from now on."""
        self._each.append(watcher)

    def clear(self) -> None:
        """Tell nobody any more."""
        self._each.clear()

    def changed(self, key: SessionKey) -> None:
        """Say that the session under this key was changed, removed or made."""
        for watcher in self._each:
            watcher.changed(key)

    def all_changed(self) -> None:
        """Say that nothing of before is true."""
        for watcher in self._each:
            watcher.all_changed()

    def trust(self, trusted: bool) -> None:
        """Say whether changes are heard at all."""
        for watcher in self._each:
            watcher.trust(trusted)
