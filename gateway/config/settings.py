"""What an operator may write, section by section.

``server_settings`` has the near side, ``route_settings`` has routes and upstreams.

Below each field stands what it means, its unit, its default, and what leaving it out means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.config.accept_settings import (
    AcceptSettings,
    ColumnsSettings,
    DbSchema,
    TablesSettings,
)
from gateway.config.kinds import (
    CookieName,
    CookiePath,
    Count,
    Duration,
    Filled,
    Flag,
    Given,
    HeaderName,
    IdPrefix,
    Label,
    One,
    OneOrMany,
    OnStoreOutage,
    PageAddress,
    PermissionName,
    PlainPath,
    RoleName,
    Strict,
    Text,
)
from gateway.config.route_settings import DefaultsSettings, RouteSettings
from gateway.config.server_settings import ServerSettings
from gateway.config.upstream_settings import UpstreamSettings
from gateway.model import IdentityField
from gateway.rules.identity import PRESETS


class CookieSettings(Strict):
    """``session.cookie``: always ``HttpOnly``; with https ``Secure``, and a name with prefix."""

    name: CookieName = "gateway_session"
    """Its name; with https, ``__Host-`` or ``__Secure-`` comes in front: always the latter with
    another framework's ``session.format``, whose usual name holds there if none is given. Default
    ``gateway_session``."""
    same_site: Literal["lax", "strict", "none"] = "lax"
    """When browsers send it along from other sites. Default ``lax``; ``none`` needs https."""
    domain: Text | None = None
    """Domain whose hosts all get the cookie. Unset or null: only the host of ``public_url``."""
    path: CookiePath = "/"
    """Paths that get the cookie. Default ``/``."""


class SessionSettings(Strict):
    """``session``: how long a sign-in lasts and where it is kept."""

    strategy: Literal["server", "jwt"] = "server"
    """``server``: the cookie holds an opaque id, the store the session. ``jwt``: the cookie holds
    the session itself, sealed with ``secret``; a ``store`` is needed only to end, change or list
    sessions. Default ``server``."""
    format: Literal["gateway", "nextauth", "authjs", "nextauth-database"] = "gateway"
    """Who else reads sessions. ``gateway``: nobody. With ``strategy: jwt``, whose cookies it makes:
    ``nextauth``: those of next-auth 4, so that ``getServerSession`` in the app behind the gateway
    knows who is signed in; ``secret`` is the app's ``NEXTAUTH_SECRET``. ``authjs``: those of
    Auth.js 5, for ``auth()``; ``secret`` is its ``AUTH_SECRET``. With ``strategy: server``,
    ``nextauth-database``: apps whose NextAuth or Auth.js has the database strategy find sessions in
    their own PostgreSQL database, which ``store`` names; the gateway writes the adapter's tables
    there, and its own beside them. Default ``gateway``."""
    db_schema: Annotated[DbSchema | None, Given, Field(alias="schema")] = None
    """Which adapter has made the tables: ``prisma``, ``drizzle`` or ``pg``. Needed with
    ``format: nextauth-database``, and only there."""
    tables: TablesSettings = TablesSettings()
    """Names of those tables. Unset: those of the schema."""
    columns: ColumnsSettings = ColumnsSettings()
    """Names of their columns. Unset: those of the schema."""
    forward_to: Annotated[tuple[Label, ...] | None, Given] = None
    """With another framework's ``format``, the upstreams that get the session's cookie, on routes
    that ask who it is; from all others it is kept. Unset: ``defaults.upstream``."""
    store: Text = "sqlite:///gateway-sessions.db"
    """``memory://``, ``sqlite:///file`` (relative to the configuration's folder),
    ``redis://host:port/db``, ``redis+sentinel://host,host/db?service=name`` or
    ``redis+cluster://host,host`` (``rediss`` for TLS), or ``postgresql://user@host/database`` (for
    TLS ``?sslmode=verify-full&sslrootcert=file``). With ``strategy: jwt`` there is none unless it
    is named. Unset: ``sqlite:///gateway-sessions.db``."""
    secret: Annotated[tuple[Text, ...], Filled, OneOrMany] = ()
    """Seals sessions in the store and signs the gateway's own forms: the first of a list seals and
    signs, all open and verify. Unset: sessions are stored as plain JSON, and forms are signed with
    a secret made at start, so that no other process accepts them."""
    encrypt: Flag = True
    """Whether sessions are sealed in the store, where there is a ``secret`` (AES-256-GCM). Switched
    off, what was sealed is still read; switched on, what was plain is not. Default true."""
    cookie: CookieSettings = CookieSettings()
    """How the cookie looks."""
    max_age: Duration = 30 * 86400.0
    """Absolute life of a session. Default 30d."""
    idle_timeout: Duration = 12 * 3600.0
    """Time without a request after which a session ends. Unset: 12h, or ``max_age`` if shorter."""
    update_age: Duration = 300.0
    """The expiry is moved at most this often. Unset: 5m, or half of ``idle_timeout`` if shorter."""
    anonymous: Flag = False
    """Whether a visitor without a session gets one at a route with ``access: optional``, so that
    upstreams can keep something for them; at sign-in it goes over to the new session. Default
    false."""
    remember: Literal["always", "ask", "never"] = "always"
    """Whether the cookie outlives the browser: ``ask`` puts a box on the sign-in page that is to
    be ticked for it. Default ``always``."""
    max_per_user: Annotated[Count | None, Given] = None
    """Sessions that a user may have at once: one more sign-in ends the oldest. Unset: any
    number."""
    token: Annotated[Text | None, Given] = None
    """A function of yours that makes the tokens in cookies, ``package.module:function`` or
    ``file.py:function``: without arguments, each time another text of 16 to 512 letters, digits and
    ``-._~`` that nobody can guess. Unset: 256 random bits."""
    cache: Flag = True
    """Whether sessions are remembered in the process, kept true by the store. Default true; false:
    every request asks the store."""
    on_store_outage: OnStoreOutage = 0.0
    """What happens to requests whose session cannot be asked for. ``reject``: 503, and the cookie
    is kept. ``serve_stale 60s``: those whose session was true so long ago pass, marked as stale.
    Default ``reject``."""
    store_timeout: Duration = 1.0
    """How long the store may take to answer. Default 1s."""
    accept: tuple[AcceptSettings, ...] = ()
    """Sessions that other frameworks issue, in the order in which they are looked for. Default:
    none."""


class PresetSettings(Strict):
    """``identity.headers`` by name."""

    preset: Literal["gateway"]


def _preset(value: object) -> object:
    if isinstance(value, dict) and "preset" in value:
        return PRESETS[PresetSettings.model_validate(value).preset]
    return value


class IdentitySettings(Strict):
    """``identity``: what upstreams are told."""

    headers: Annotated[Mapping[HeaderName, IdentityField], BeforeValidator(_preset)] = PRESETS[
        "gateway"
    ]
    """``{preset: gateway}``, or a map from header name to what it carries. Default the preset."""


class ProviderSettings(Strict):
    """One way to sign in."""

    id: Label
    """Names the provider in addresses, logs and ``X-Auth-Provider``."""
    type: Literal["users"]
    """``users``: a file with users and hashes of their passwords."""
    file: Text
    """The users file, relative to the configuration's folder."""
    name: Annotated[Text | None, Given] = None
    """What the sign-in page calls it. Unset: its id."""
    id_prefix: Annotated[IdPrefix | None, Given] = None
    """Put in front of its users' ids, as with ``session.accept``. Unset: nothing."""


class LoginSettings(Strict):
    """``login``: how users sign in."""

    path: Annotated[PlainPath | None, Given] = None
    """Under which path the sign-in pages and endpoints live. Unset: ``auth`` below
    ``server.base_path``, so ``/_gateway/auth``."""
    url: PageAddress | None = None
    """An app's own sign-in page, with ``{return_to}`` where the way back goes. Unset or null: the
    gateway's page."""
    providers: tuple[ProviderSettings, ...] = ()
    """Ways to sign in. Default: none, and nobody can sign in by form."""


class RoleSettings(Strict):
    """One line of ``roles``."""

    inherits: tuple[RoleName, ...] = ()
    """Roles that this one includes. Default: none."""
    permissions: tuple[PermissionName, ...] = ()
    """What it permits; ``*`` is everything. Default: nothing."""

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {} if value is None else value


class Settings(Strict):
    """A whole file."""

    version: One
    """Of this format: 1."""
    server: ServerSettings = ServerSettings()
    session: SessionSettings = SessionSettings()
    identity: IdentitySettings = IdentitySettings()
    login: LoginSettings = LoginSettings()
    roles: Mapping[RoleName, RoleSettings] = {}
    """What roles include and permit. Default: roles stand for themselves."""
    callbacks: Annotated[Text | None, Given] = None
    """Python of yours, ``file.py`` or ``package.module``, with any of the functions ``sign_in``,
    ``jwt`` and ``session``, which mean what they mean to NextAuth. Unset: none."""
    upstreams: Mapping[Label, UpstreamSettings]
    """Where requests go, by name; at least one."""
    defaults: DefaultsSettings = DefaultsSettings()
    routes: tuple[RouteSettings, ...] = ()
    """Who may do what where. The most specific owns a request; order means nothing."""
    tests: tuple[str, ...] = ()
    """``METHOD PATH as WHO -> STATUS [login|json]``, run by ``gateway check``."""
