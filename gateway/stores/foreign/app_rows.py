"""Sessions written into an app's own tables in PostgreSQL, as next-auth's adapters write them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from gateway.errors import StoreUnavailable
from gateway.model import SessionKey, User
from gateway.rules.adapter_tables import Tables, quoted
from gateway.stores.postgres_connections import Connections

_LINKS = """
CREATE TABLE IF NOT EXISTS gateway_app_users (
    provider text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    app_user text NOT NULL,
    PRIMARY KEY (provider, user_id)
)
"""
# One sign-in of somebody after the other, so that nobody becomes two users of the app.
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended($1 || chr(10) || $2, 0))"
_LINKED = "SELECT app_user FROM gateway_app_users WHERE provider = $1 AND user_id = $2"
_LINK = (
    "INSERT INTO gateway_app_users VALUES ($1, $2, $3)"
    " ON CONFLICT (provider, user_id) DO UPDATE SET app_user = excluded.app_user"
)
_COLUMNS = """
SELECT attname, format_type(atttypid, NULL),
    attnotnull AND NOT atthasdef AND attidentity = '' AS given
FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""
_TEXTS = ("text", "character varying", "uuid")


class AppRows:
    """Rows of sessions and of the users that they belong to.

    Somebody who signs in becomes the app's user with their email address, as with the adapters
    themselves, or a new one; ``gateway_app_users`` keeps which, so that a changed address changes
    nothing. Where a column needs a value that no adapter of ours knows, opening fails.

    Args:
        setting: Where the URL is written, for messages.
    """

    def __init__(
        self,
        url: str,
        tables: Tables,
        *,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        setting: str = "session.store",
    ) -> None:
        self._tables = tables
        self._wall = wall
        self._connections = Connections(url, timeout, setting=setting, options={"timezone": "UTC"})
        names = tables
        self._sessions, self._users = quoted(names.sessions), quoted(names.users)
        self._token, self._expires = quoted(names.token), quoted(names.expires)
        self._insert_user = self._insert_session = self._known_user = ""

    async def open(self) -> None:
        """Learn what the tables need, and make the one of ours where it is missing."""
        await self._connections.run(self._learn, again=True)

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    async def alive(self, tokens: Sequence[SessionKey]) -> set[str]:
        """Return those tokens whose session the app would take."""
        sql = (
            f"SELECT {self._token} FROM {self._sessions}"  # noqa: S608
            f" WHERE {self._token} = ANY($1::text[]) AND {self._expires} >= to_timestamp($2)"
        )
        rows = await self._connections.run(
            lambda connection: connection.fetch(sql, tokens, _whole(self._wall())), again=True
        )
        return {row[0] for row in rows}

    async def add(self, token: SessionKey, user: User, expires_at: float) -> None:
        """Write the session of a user, and the user where the app does not know them."""

        async def work(connection: Any) -> None:
            async with connection.transaction():
                app_user = await self._app_user(connection, user)
                values = (token, _whole(expires_at), app_user)
                await connection.execute(self._insert_session, *values)

        await self._connections.run(work)

    async def move(self, token: SessionKey, expires_at: float) -> None:
        """Let a session that is still there end at another moment."""
        sql = (
            f"UPDATE {self._sessions} SET {self._expires} = to_timestamp($2)"  # noqa: S608
            f" WHERE {self._token} = $1 AND {self._expires} >= to_timestamp($3)"
        )
        values = (token, _whole(expires_at), _whole(self._wall()))
        await self._connections.run(lambda c: c.execute(sql, *values), again=True)

    async def remove(self, tokens: Sequence[SessionKey]) -> None:
        """End sessions."""
        sql = f"DELETE FROM {self._sessions} WHERE {self._token} = ANY($1::text[])"  # noqa: S608
        await self._connections.run(lambda c: c.execute(sql, tokens), again=True)

    async def _app_user(self, connection: Any, user: User) -> str:
        who = (user.provider, user.id)
        await connection.execute(_TURN, *who)
        linked: str | None = await connection.fetchval(_LINKED, *who)
        if linked is not None and await connection.fetchval(self._known_user, linked) is not None:
            return linked
        found: str | None = None
        if user.email:
            email = quoted(self._tables.email)
            sql = (
                f"SELECT {quoted(self._tables.id)}::text FROM {self._users}"  # noqa: S608
                f" WHERE {email} = $1 LIMIT 2"
            )
            rows = await connection.fetch(sql, user.email)
            if len(rows) > 1:
                raise StoreUnavailable("two users of the app have the same email address")
            found = rows[0][0] if rows else None
        if found is None:
            values = (str(uuid4()), user.name, user.email, user.image)
            found = await connection.fetchval(self._insert_user, *values)
        await connection.execute(_LINK, *who, found)
        return str(found)

    async def _learn(self, connection: Any) -> None:
        if await connection.fetchval("SELECT to_regclass('gateway_app_users')") is None:
            await connection.execute(_LINKS)
        names = self._tables
        users = await self._columns(connection, names.users)
        sessions = await self._columns(connection, names.sessions)
        kind = users.get(names.id, ("", False))[0]
        known = {names.name: "$2", names.email: "$3", names.image: "$4"}
        if users.get(names.id, ("", False))[1]:
            known[names.id] = f"$1::text::{kind}"
        user = known | self._filled(names.users, users, set(known))
        # What an id that the database makes itself leaves over must be of some type all the same.
        self._insert_user = (
            f"{_insert(self._users, user)} WHERE $1::text IS NOT NULL"
            f" RETURNING {quoted(names.id)}::text"
        )
        self._known_user = (
            f"SELECT 1 FROM {self._users} WHERE {quoted(names.id)} = $1::text::{kind}"  # noqa: S608
        )
        known = {names.token: "$1", names.user_id: f"$3::text::{kind}"}
        known[names.expires] = "to_timestamp($2)"
        session = known | self._filled(names.sessions, sessions, set(known))
        self._insert_session = _insert(self._sessions, session)

    async def _columns(self, connection: Any, table: str) -> dict[str, tuple[str, bool]]:
        rows = await connection.fetch(_COLUMNS, quoted(table))
        if not rows:
            raise StoreUnavailable(f"PostgreSQL: there is no table {table} for sessions of the app")
        return {name: (kind, given) for name, kind, given in rows}

    def _filled(
        self, table: str, columns: dict[str, tuple[str, bool]], known: set[str]
    ) -> dict[str, str]:
        """Return what goes into columns that have to be given something, but for known ones."""
        filled = {}
        for name, (kind, given) in columns.items():
            if not given or name in known:
                continue
            if kind.startswith("timestamp"):
                filled[name] = "now()"
            elif name == "id" and kind in _TEXTS:
                filled[name] = f"gen_random_uuid()::{kind}"
            else:
                raise StoreUnavailable(
                    f"PostgreSQL: the column {name} of {table} needs a default, since only the app"
                    " knows what belongs there"
                )
        return filled


def _insert(table: str, values: dict[str, str]) -> str:
    names = ", ".join(map(quoted, values))
    return f"INSERT INTO {table} ({names}) SELECT {', '.join(values.values())}"


def _whole(moment: float) -> float:
    """Return a moment in whole milliseconds, as JavaScript writes and compares them."""
    return int(moment * 1000) / 1000
