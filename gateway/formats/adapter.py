"""The tables and keys in which next-auth and Auth.js keep sessions: the database strategy.

The cookie is an opaque token. A row, or in Redis a JSON object, says whose session it is and until
when; another one describes the user. Stores read them, under whatever names the app has given its
columns, and hand them over here under the adapters' own: ``sessionToken``, ``userId``, ``expires``,
and ``id`` of the user.

Source: next-auth 4.24.15, @auth/core 0.41.3, and the adapters for pg, Drizzle, Prisma and Upstash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hmac import compare_digest
from typing import Any
from uuid import UUID

from gateway.formats import js_dates, objects
from gateway.formats.foreign import Refused, Why

LONGEST = 1024
"""Characters of a token. Those of the frameworks have 36."""

MAX_AGE = 30 * 86400.0
UPDATE_AGE = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One session, as an adapter keeps it."""

    token: str = field(repr=False)
    user_id: str
    """As text, whatever the column's type is."""
    expires: int
    """Milliseconds since 1970."""


# --- what a browser sends ------------------------------------------------------------------------


def token(value: str) -> str:
    """Return the token that a cookie holds.

    Raises:
        Refused: No adapter could have made it: that would not even be asked for.
    """
    if not value:
        raise Refused(Why.MISSING, "there is no such cookie")
    if len(value) > LONGEST:
        raise Refused(Why.TOO_LARGE, f"has more than {LONGEST} characters")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise Refused(Why.MALFORMED, "is no text") from exc
    if "\0" in value:
        raise Refused(Why.MALFORMED, "holds a NUL, which PostgreSQL does not take")
    return value


# --- what is kept --------------------------------------------------------------------------------


def session_of_row(row: Mapping[str, object], token: str) -> SessionRecord:
    """Return the session in a row that was found for a token.

    Raises:
        Refused: It is another's, or says no user or no time.
    """
    kept, user_id = row.get("sessionToken"), _identifier(row.get("userId"))
    return _record(kept, user_id, _moment(row.get("expires")), token)


def session_of_json(raw: bytes, token: str) -> SessionRecord:
    """Return the session that Redis holds under a token's key.

    Somebody may send a token that leads to a key of another kind, such as the index of a user's
    sessions: what is found has to name this very token.

    Raises:
        Refused: It is no session, is another's, or says no user or no time.
    """
    found = objects.read(raw, Why.BAD_ENTRY, "what the store holds")
    user_id, expires = found.get("userId"), found.get("expires")
    moment = js_dates.of_text(expires, zone=True) if isinstance(expires, str) else None
    return _record(
        found.get("sessionToken"), user_id if isinstance(user_id, str) else None, moment, token
    )


def user_of_row(row: Mapping[str, object] | None, user_id: str) -> dict[str, Any]:
    """Return a user's row as JSON has it; what JSON has not is left out.

    Raises:
        Refused: There is none, or it is another's.
    """
    if row is None:
        raise Refused(Why.NO_USER, "its user is not in the table")
    user = {name: value for name, raw in row.items() if (value := _plain(raw)) is not _NOTHING}
    return _user(user, user_id)


def user_of_json(raw: bytes | None, user_id: str) -> dict[str, Any]:
    """Return the user whom Redis holds under a user's key.

    Raises:
        Refused: There is none, or it is another's.
    """
    if raw is None:
        raise Refused(Why.NO_USER, "the store does not know its user")
    return _user(objects.read(raw, Why.NO_USER, "what the store holds as its user"), user_id)


# --- how long it lives ---------------------------------------------------------------------------


def is_valid(expires: int, now: float) -> bool:
    """Whether a session is still one; at the very millisecond it is."""
    return expires >= js_dates.now_ms(now)


def is_due(
    expires: int, now: float, *, max_age: float = MAX_AGE, update_age: float = UPDATE_AGE
) -> bool:
    """Whether a request moves the expiry: ``update_age`` has passed since it was last moved."""
    due = expires - max_age * 1000 + update_age * 1000
    return due <= js_dates.now_ms(now)


def moved(now: float, *, max_age: float = MAX_AGE) -> int:
    """Return to what a request moves the expiry."""
    return js_dates.now_ms(now + max_age)


# --- values --------------------------------------------------------------------------------------


def _record(kept: object, user_id: str | None, expires: int | None, token: str) -> SessionRecord:
    if not isinstance(kept, str) or not compare_digest(_bytes(kept), _bytes(token)):
        raise Refused(Why.BAD_ENTRY, "what the store holds is the session of another token")
    if not user_id:
        raise Refused(Why.BAD_ENTRY, "what the store holds names no user")
    if expires is None or abs(expires) > js_dates.LAST:
        raise Refused(Why.BAD_ENTRY, "what the store holds says no time at which it ends")
    return SessionRecord(token=token, user_id=user_id, expires=expires)


def _user(user: dict[str, Any], user_id: str) -> dict[str, Any]:
    if _identifier(user.get("id")) != user_id:
        raise Refused(Why.BAD_ENTRY, "what the store holds as its user is something else")
    return user


def _identifier(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        return None
    return str(value)


def _moment(value: object) -> int | None:
    match value:
        case datetime():
            return js_dates.of_datetime(value)
        case bool():
            return None
        case int():
            return value  # SQLite, by Drizzle and Prisma: milliseconds
        case str():
            return js_dates.of_text(value)
        case _:
            return None


_NOTHING = object()


def _plain(value: object) -> Any:
    match value:
        case None | str() | bool() | int() | float():
            return value
        case datetime():
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z")
        case UUID() | Decimal():
            return str(value)
        case list() | tuple():
            return [plain for one in value if (plain := _plain(one)) is not _NOTHING]
        case dict():
            return {
                str(name): plain
                for name, one in value.items()
                if (plain := _plain(one)) is not _NOTHING
            }
        case _:
            return _NOTHING


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
