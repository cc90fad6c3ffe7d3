"""Sessions that adapters of NextAuth and Auth.js keep in PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.formats import adapter
from gateway.model import Session, SessionId, SessionKey
from gateway.rules.adapter_tables import USER, Tables, quoted, with_found
from gateway.stores.foreign.adapter_reading import Reading
from gateway.stores.foreign.protocol import SessionOf, askable
from gateway.stores.postgres_connections import Connections
from gateway.stores.protocol import Watcher

_STORE = "nextauth-database"
_COLUMNS_OF_SESSION = 3
_NEVER = 9e9
_THERE = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
AND NOT attisdropped AND attname = ANY($2::text[])
AND has_column_privilege(attrelid, attnum, 'SELECT')
"""


class AdapterPostgres:
    """A ``LookupStore`` on an app's own tables.

    PostgreSQL tells nobody when they change, and triggers of ours have no place on them: no copy is
    kept, and every request asks; those of one turn of the event loop go out together. What does not
    move expiries needs an account that may read, and only reads. Rows are never deleted: the app
    does that itself when it meets one that is over.

    Args:
        touch: Whether the gateway moves expiries; otherwise it writes nothing.
        setting: Where the URL is written, for messages.
    """

    def __init__(
        self,
        url: str,
        tables: Tables,
        session_of: SessionOf,
        *,
        touch: bool = False,
        max_age: float = adapter.MAX_AGE,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        setting: str = "store",
    ) -> None:
        self._tables = tables
        self._reading = Reading(session_of, max_age=max_age, wall=wall, store=_STORE)
        self._max_age = max_age
        self._writes = touch
        self._wall = wall
        # So that a moment without a zone is UTC, whatever the server's own zone is.
        options = {"timezone": "UTC"}
        if not touch:
            options["default_transaction_read_only"] = "on"
        self._connections = Connections(url, timeout, setting=setting, options=options)
        self._load = _load(tables)
        self._touch = _touch(tables)

    async def open(self) -> None:
        """Return if the tables are there, with these columns, for this account."""
        if self._tables.maybe:
            users = quoted(self._tables.users)
            rows = await self._connections.run(
                lambda connection: connection.fetch(_THERE, users, self._tables.maybe), again=True
            )
            self._tables = with_found(self._tables, (row[0] for row in rows))
            self._load = _load(self._tables)
        await self._connections.run(lambda connection: connection.fetch(self._load, []), again=True)
        if self._writes:
            await self._move("", 0.0, _NEVER)

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    async def ping(self) -> None:
        """Return if PostgreSQL answers."""
        await self._connections.run(lambda connection: connection.fetch(self._load, []), again=True)

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        wanted = askable(keys)
        if not wanted:
            return [None] * len(keys)
        rows = await self._connections.run(
            lambda connection: self._rows(connection, wanted), again=True
        )
        return self._reading.each_once(keys, rows, self._session)

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there, as the framework does: never back."""
        if not self._writes:
            return True
        return await self._move(session.key, session.touched_at + self._max_age, self._wall())

    async def find(self, session_id: SessionId) -> Session | None:
        """Return nothing: no table knows our public ids."""
        return None

    def watch(self, watcher: Watcher) -> None:
        """Tell nothing, ever: changes are not heard."""

    async def _rows(self, connection: Any, keys: list[SessionKey]) -> list[Any]:
        # What a database in another encoding cannot hold is an error there, not merely absent.
        if connection.get_settings().server_encoding != "UTF8":
            keys = [key for key in keys if key.isascii()]
        rows: list[Any] = await connection.fetch(self._load, keys)
        return rows

    async def _move(self, token: str, expires: float, now: float) -> bool:
        # Whole milliseconds, as JavaScript writes and compares them.
        values = (token, int(expires * 1000) / 1000, int(now * 1000) / 1000)
        done: str = await self._connections.run(
            lambda connection: connection.execute(self._touch, *values), again=True
        )
        return done != "UPDATE 0"

    def _session(self, row: Any) -> Session | None:
        values = tuple(row)
        session, user = values[:_COLUMNS_OF_SESSION], values[_COLUMNS_OF_SESSION:]
        more = (
            None if value is None else msgspec.json.decode(value) for value in user[len(USER) :]
        )
        key = SessionKey(values[0])
        return self._reading.of_row(key, self._tables, session, (*user[: len(USER)], *more))


def _load(tables: Tables) -> str:
    columns = [f"u.{quoted(column)}" for _, column in tables.of_user]
    # Roles are a text, a list, an enumeration or JSON: as JSON they are all read alike.
    columns[len(USER) :] = [f"to_jsonb({column})::text" for column in columns[len(USER) :]]
    return (
        f"SELECT s.{quoted(tables.token)}, s.{quoted(tables.user_id)},"  # noqa: S608
        # Of a moment without a zone this is what it would be in UTC.
        f" floor(extract(epoch FROM s.{quoted(tables.expires)}) * 1000)::float8,"
        f" {', '.join(columns)}"
        f" FROM {quoted(tables.sessions)} AS s"
        f" JOIN {quoted(tables.users)} AS u ON u.{quoted(tables.id)} = s.{quoted(tables.user_id)}"
        f" WHERE s.{quoted(tables.token)} = ANY($1::text[])"
    )


def _touch(tables: Tables) -> str:
    expires = quoted(tables.expires)
    return (
        f"UPDATE {quoted(tables.sessions)} SET {expires} = to_timestamp($2)"  # noqa: S608
        f" WHERE {quoted(tables.token)} = $1"
        f" AND {expires} >= to_timestamp($3) AND {expires} < to_timestamp($2)"
    )
