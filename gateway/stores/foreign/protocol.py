"""What all stores of other frameworks' sessions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import structlog

from gateway.model import Session, SessionKey

log = structlog.get_logger()

_LONGEST = 4096
"""Characters: what a browser keeps of a cookie."""


class SessionOf(Protocol):
    """Makes a session of what the framework keeps."""

    def __call__(
        self, key: SessionKey, payload: Mapping[str, Any], *, touched_at: float, expires_at: float
    ) -> Session | None:
        """Return the session, or None when this is none.

        The same key and payload give the same session, but for the two times: copies of it are
        compared.

        Args:
            payload: What the app keeps in it. Of a database it is ``user`` alone, with ``id``,
                ``name``, ``email``, ``image`` and whatever else was asked for.
            touched_at: When its expiry was last moved: as long ago as it lives from then on.
        """
        ...


@runtime_checkable
class Hearing(Protocol):
    """A store that hears of changes a little later than they are made, unless it is told to."""

    def hear(self) -> None:
        """Tell watchers of every change up to now."""
        ...


def askable(keys: Sequence[SessionKey]) -> list[SessionKey]:
    """Return those that some backend may have, each once.

    A cookie may hold anything. What no backend can be asked, or is asked in vain, must not become
    an error: that would be one of the backend, for which all are refused.
    """
    return [key for key in dict.fromkeys(keys) if _is_askable(key)]


def report_corrupt(store: str, why: str) -> None:
    """Log that something is no session; which one cannot be said, since its id opens it."""
    log.warning("corrupt_record", store=store, error=why)


def _is_askable(key: SessionKey) -> bool:
    if not 0 < len(key) <= _LONGEST or "\0" in key:
        return False
    return key.isascii() or not any("\ud800" <= c <= "\udfff" for c in key)
