"""What an operator may write about sessions of other frameworks: ``session.accept``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from gateway.config.kinds import (
    AcceptedCookie,
    Duration,
    Filled,
    Given,
    Identifier,
    IdPrefix,
    KeyPrefix,
    Label,
    OneOrMany,
    PayloadPath,
    RoleName,
    Strict,
    Text,
)

# As iron-session writes them into seals: 01 would never be found.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


def _version(value: object) -> int:
    if isinstance(value, bool) or str(value) not in ("8", "9"):
        raise ValueError("expected 8 or 9")
    return int(str(value))


def _passwords(value: object) -> object:
    if isinstance(value, dict):
        if not value or not all(_NUMBER.fullmatch(str(key)) for key in value):
            raise ValueError("expected a password, or passwords by their numbers")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a password, or passwords by their numbers")
    return {"1": value}


Version = Annotated[int, PlainValidator(_version)]
Passwords = Annotated[Mapping[str, Text], BeforeValidator(_passwords)]
Touch = Literal["app", "gateway"]
DbSchema = Literal["prisma", "drizzle", "pg"]


class AcceptSettings(Strict):
    """An entry of ``session.accept``, as far as all types are alike."""

    type: Literal[
        "nextauth",
        "authjs",
        "nextauth-database",
        "iron-session",
        "express-session",
        "next-session",
    ]
    """What makes these sessions: ``nextauth`` (NextAuth 4) or ``authjs`` (Auth.js 5) with the JWT
    strategy, either of them with ``nextauth-database``, or another framework."""
    name: Annotated[Label | None, Given] = None
    """What routes, logs and ``X-Auth-Provider`` call it. Unset: its type."""
    cookie: Annotated[AcceptedCookie | None, Given] = None
    """The exact name of its cookie. Unset: the framework's own; of NextAuth and Auth.js both plain
    and with ``__Secure-``."""
    user: Annotated[PayloadPath | None, Given] = None
    """Where in a session the user is: an object with ``id``, ``name``, ``email`` and ``image``, or
    an id alone; without an id, the email is it. Unset: ``sub``, ``name``, ``email`` and ``picture``
    of a JWT, otherwise ``user``, then ``passport.user``."""
    roles: Annotated[PayloadPath | None, Given] = None
    """Where their roles are: a list, or one name. In a table, that is a column ``roles`` of the
    user if there is one. Unset: ``roles``, then ``user.roles``."""
    permissions: Annotated[PayloadPath | None, Given] = None
    """Where permissions are. Unset: there are none but those that roles bring."""
    id_prefix: Annotated[IdPrefix | None, Given] = None
    """Put in front of its users' ids, so that nobody from another source has the same one. With
    several sources each should have one, of which one may be empty: otherwise there is a warning,
    and where a route names a ``user`` an error. Unset: nothing."""
    allowed_roles: Annotated[tuple[RoleName, ...] | None, Given] = None
    """The roles that it may give; any other is dropped and logged. Unset: all."""
    forward_to: Annotated[tuple[Label, ...] | None, Given] = None
    """Upstreams that get its cookie; from all others it is kept. Unset: ``defaults.upstream``, or
    the only one there is."""


class JwtAcceptSettings(AcceptSettings):
    """``nextauth`` and ``authjs``: the session is in its cookie."""

    secret: Annotated[tuple[Text, ...], Filled, OneOrMany]
    """What the app seals with, ``NEXTAUTH_SECRET`` or ``AUTH_SECRET``; or a list, and all open."""
    touch: Touch = "app"
    """Who renews a cookie that is used: ``app``, when it is asked, or ``gateway``, too. Default
    ``app``."""
    max_age: Duration = 30 * 86400.0
    """The app's ``session.maxAge``. Default 30d."""
    update_age: Duration = 300.0
    """With ``touch: gateway``: a cookie is renewed at most this often. Default 5m."""


class TablesSettings(Strict):
    """``tables``: what the tables are called, where the app has renamed them."""

    session: Annotated[Identifier | None, Given] = None
    """Of sessions. Unset: as the schema has it."""
    user: Annotated[Identifier | None, Given] = None
    """Of users. Unset: as the schema has it."""


class ColumnsSettings(Strict):
    """``columns``: what the columns are called, where the app has renamed them."""

    session_token: Identifier = "sessionToken"  # noqa: S105 - a column
    """What the cookie holds. Default ``sessionToken``."""
    user_id: Identifier = "userId"
    """Whose session it is. Default ``userId``."""
    expires: Identifier = "expires"
    """When it ends. Default ``expires``."""
    id: Identifier = "id"
    """Of the user. Default ``id``."""
    name: Identifier = "name"
    """Of the user. Default ``name``."""
    email: Identifier = "email"
    """Of the user. Default ``email``."""
    image: Identifier = "image"
    """Of the user. Default ``image``."""


class DatabaseAcceptSettings(AcceptSettings):
    """``nextauth-database``: NextAuth or Auth.js with the database strategy."""

    store: Text
    """Where the app keeps them: ``postgresql://user@host/database``, ``sqlite:///file``, or the
    URL of a Redis for the layout of the Upstash adapter."""
    db_schema: Annotated[DbSchema | None, Given, Field(alias="schema")] = None
    """Which adapter has made the tables: ``prisma``, ``drizzle`` or ``pg``. Needed with PostgreSQL.
    Unset: with SQLite ``drizzle``."""
    tables: TablesSettings = TablesSettings()
    """Names of tables. Unset: those of the schema."""
    columns: ColumnsSettings = ColumnsSettings()
    """Names of columns. Unset: those of the schema."""
    prefix: KeyPrefix = ""
    """With Redis, what keys begin with, if the app has set ``baseKeyPrefix``."""
    touch: Touch = "app"
    """Who moves the end of a session that is used: ``app``, when it is asked, or ``gateway``, too.
    Default ``app``."""
    max_age: Duration = 30 * 86400.0
    """The app's ``session.maxAge``. Default 30d."""
    update_age: Duration = 86400.0
    """The app's ``session.updateAge``. Default 1d."""


class IronAcceptSettings(AcceptSettings):
    """``iron-session``: the session is in its cookie, and the app alone renews it."""

    cookie: AcceptedCookie
    """The app's ``cookieName``."""
    password: Passwords
    """The app's ``password``, or several by their numbers: all open."""
    version: Version = 9
    """Of iron-session: 8 or 9. Default 9."""
    touch: Literal["app"] = "app"
    """Who renews a cookie: with iron-session the app alone can. Default ``app``."""


class StoredAcceptSettings(AcceptSettings):
    """``express-session``: an id in the cookie, the session in Redis."""

    secret: Annotated[tuple[Text, ...], Filled, OneOrMany]
    """What the app signs its cookies with, or a list."""
    store: Text
    """Where the app keeps them: the URL of a Redis."""
    prefix: KeyPrefix = "sess:"
    """What its keys begin with. Default ``sess:``."""
    touch: Touch = "app"
    """Who lengthens the life of a session that is used: ``app``, when it is asked, or ``gateway``,
    too. Default ``app``."""
    max_age: Duration = 86400.0
    """The ``ttl`` of the app's store, for sessions without a ``maxAge`` of their own. Default
    1d."""
    update_age: Duration = 60.0
    """With ``touch: gateway``: a session's life is lengthened at most this often. Default 1m."""


class NextSessionAcceptSettings(StoredAcceptSettings):
    """``next-session``: as ``express-session``, but for ``secret``."""

    secret: Annotated[tuple[Text, ...], Filled, OneOrMany] = ()
    """What the app signs its cookies with, or a list. Unset: it does not sign them."""


ACCEPTED: Mapping[str, type[AcceptSettings]] = {
    "nextauth": JwtAcceptSettings,
    "authjs": JwtAcceptSettings,
    "nextauth-database": DatabaseAcceptSettings,
    "iron-session": IronAcceptSettings,
    "express-session": StoredAcceptSettings,
    "next-session": NextSessionAcceptSettings,
}
"""What may be written, by type."""
