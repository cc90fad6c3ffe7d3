"""From what a framework keeps to a session of ours."""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import structlog

from gateway.config.accepted import Accepted
from gateway.model import AcceptedSession, SessionId, SessionKey
from gateway.rules.foreign import read_user

log = structlog.get_logger()

_LAST = 253402300799.0
"""The end of the year 9999, the last that a header can name."""
_HANDLE = 22
"""Characters of a session's public id."""
_REMEMBERED = 1000
_MOST_TOLD = 20
_LONGEST_TOLD = 80


class Describing:
    """Makes sessions of one source, and tells the operator what it has said and may not."""

    def __init__(self, config: Accepted) -> None:
        self._config = config
        self._told: set[int] = set()

    def session(
        self, key: SessionKey, payload: Mapping[str, Any], *, touched_at: float, expires_at: float
    ) -> AcceptedSession:
        """Return the session; anonymous where the payload names nobody.

        But for the two times it is the same whenever key and payload are.
        """
        read = read_user(payload, self._config.paths, self._config.trust)
        if read.dropped:
            self._tell(read.user.id, read.dropped)
        return AcceptedSession(
            key=key,
            id=handle(self._config.name, key),
            user=read.user,
            created_at=0.0,
            ends_at=math.inf,
            touched_at=touched_at,
            expires_at=min(expires_at, _LAST),
            leeway=self._config.leeway,
        )

    def _tell(self, user: str, dropped: tuple[str, ...]) -> None:
        """Log once what would otherwise be said at every request."""
        what = hash((user, dropped))  # the names themselves may be many, and long
        if what in self._told:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told.add(what)
        log.warning(
            "names dropped",
            source=self._config.name,
            user=user,
            names=[repr(name)[:_LONGEST_TOLD] for name in dropped[:_MOST_TOLD]],
        )


def handle(source: str, token: str) -> SessionId:
    """Return the public id of a session: nobody can find out the token from it."""
    digest = sha256(f"{source}\0{token}".encode("utf-8", "surrogatepass")).digest()
    return SessionId(urlsafe_b64encode(digest).decode()[:_HANDLE])
