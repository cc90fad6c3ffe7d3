"""From what an adapter keeps of a session to the session, whichever database it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, TypeVar

from gateway.formats import adapter
from gateway.formats.adapter import SessionRecord
from gateway.formats.foreign import Refused
from gateway.model import Session, SessionKey
from gateway.rules.adapter_tables import Tables
from gateway.stores.foreign.protocol import SessionOf, report_corrupt

Row = TypeVar("Row", bound=Sequence[Any])


class Reading:
    """How the sessions of one source are read.

    Args:
        max_age: Seconds of the app's ``session.maxAge``: how long a session lives after its expiry
            was moved.
        store: What the store is called in the log.
    """

    def __init__(
        self, session_of: SessionOf, *, max_age: float, wall: Callable[[], float], store: str
    ) -> None:
        self._session_of = session_of
        self._max_age = max_age
        self._wall = wall
        self._store = store

    def sees(self, record: SessionRecord) -> bool:
        """Whether its time has not passed."""
        return adapter.is_valid(record.expires, self._wall())

    def session(
        self, key: SessionKey, record: SessionRecord, user: Mapping[str, object]
    ) -> Session | None:
        """Return the session, unless it is over."""
        if not self.sees(record):
            return None
        return self._session_of(
            key,
            {"user": user},
            touched_at=record.expires / 1000 - self._max_age,
            # At the very millisecond it is still one.
            expires_at=(record.expires + 1) / 1000,
        )

    def of_row(
        self, key: SessionKey, tables: Tables, session: tuple[object, ...], user: tuple[object, ...]
    ) -> Session | None:
        """Return the session in a row, or None where it is over or the row makes no sense.

        Args:
            session: Token, id of the user, and expiry: of a float, the milliseconds.
            user: The values of ``tables.of_user``.
        """
        token, user_id, expires = session
        if isinstance(expires, float):
            expires = int(expires) if isfinite(expires) else None
        names = (name for name, _ in tables.of_user)
        try:
            record = adapter.session_of_row(
                {"sessionToken": token, "userId": user_id, "expires": expires}, key
            )
            described = adapter.user_of_row(dict(zip(names, user, strict=True)), record.user_id)
        except Refused as exc:
            self.report(exc)
            return None
        return self.session(key, record, described)

    def each_once(
        self,
        keys: Sequence[SessionKey],
        rows: Sequence[Row],
        read: Callable[[Row], Session | None],
    ) -> list[Session | None]:
        """Return the session under each key; none where several rows, which begin with it, have it.

        Not every adapter makes an index that forbids that.
        """
        times = Counter(row[0] for row in rows)
        found: dict[object, Session | None] = {}
        for row in rows:
            if times[row[0]] == 1:
                found[row[0]] = read(row)
            else:
                report_corrupt(self._store, "more than one row has the same token")
        return [found.get(key) for key in keys]

    def report(self, refused: Refused) -> None:
        """Log why something is no session."""
        report_corrupt(self._store, str(refused))
