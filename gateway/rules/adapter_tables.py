"""Names of the tables in which adapters of NextAuth and Auth.js keep sessions and users.

Names come from the configuration alone and go into statements quoted, never from a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

USER = ("id", "name", "email", "image")
"""What every adapter knows of a user."""

_LONGEST = 63
"""Bytes. PostgreSQL cuts off the rest, and might find another table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Where sessions and users are. Prisma's are often renamed, with ``@@map`` and ``@map``."""

    sessions: str
    users: str
    token: str = "sessionToken"  # noqa: S105
    user_id: str = "userId"
    expires: str = "expires"
    id: str = "id"
    name: str = "name"
    email: str = "email"
    image: str = "image"
    more: tuple[str, ...] = ()
    """Further columns of a user, such as the one with the roles; none is called as those above."""
    maybe: tuple[str, ...] = ()
    """Such columns as well, if the table has them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, to be checked."""
        return (
            *(self.sessions, self.users, self.token, self.user_id, self.expires),
            *(column for _, column in self.of_user),
        )

    @property
    def of_user(self) -> tuple[tuple[str, str], ...]:
        """What is read of a user: what it is called from then on, and its column."""
        own = (self.id, self.name, self.email, self.image)
        return (*zip(USER, own, strict=True), *((column, column) for column in self.more))


def with_found(tables: Tables, found: Iterable[str]) -> Tables:
    """Return the tables with those columns that may be there, as far as they were found."""
    there = set(found)
    more = (*tables.more, *(column for column in tables.maybe if column in there))
    return replace(tables, more=more, maybe=())


SCHEMAS = {
    "pg": Tables(sessions="sessions", users="users"),
    "drizzle": Tables(sessions="session", users="user"),
    "prisma": Tables(sessions="Session", users="User"),
}
"""As the adapters' own documentation makes them."""


def check_name(name: str) -> None:
    """Return if it can be the name of a table or column.

    Raises:
        ValueError: It cannot; says why.
    """
    if not name or "\0" in name:
        raise ValueError("expected the name of a table or column")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError("expected the name of a table or column") from None
    if length > _LONGEST:
        raise ValueError(f"longer than a name may be: {_LONGEST} bytes")


def quoted(name: str) -> str:
    """Return a checked name as SQL writes it, upper case kept, reserved words allowed."""
    return '"' + name.replace('"', '""') + '"'
