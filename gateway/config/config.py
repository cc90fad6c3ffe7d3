"""What a valid configuration file means: frozen, complete, nothing left to look up.

``load`` makes it; everything else reads it. Durations are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.config.accepted import Accepted
from gateway.config.python_code import OwnCallbacks
from gateway.errors import Problem
from gateway.model import (
    CookieShape,
    IdentityField,
    Lifetime,
    Network,
    Remember,
    Upstream,
)
from gateway.rules.adapter_tables import Tables
from gateway.rules.denials import sign_in_page
from gateway.rules.policy_tests import PolicyTest
from gateway.rules.roles import RoleTable
from gateway.rules.routes import RouteTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where connections are accepted: address and port, a Unix socket's path, or systemd's."""

    host: str = ""
    port: int = 0
    path: str | None = None
    systemd: str | None = None
    """The ``FileDescriptorName`` of sockets that systemd passes; empty: all that no other takes."""
    mode: int | None = None
    """Permissions of a Unix socket; None: as the umask has it."""
    proxy_protocol: bool = False
    """Whether connections from trusted proxies begin with a PROXY protocol header."""

    @property
    def place(self) -> tuple[str, int, str | None, str | None]:
        """What makes it another listener."""
        return self.host, self.port, self.path, self.systemd

    def __str__(self) -> str:
        """Return it as it is written in the file."""
        if self.systemd is not None:
            return f"systemd:{self.systemd}" if self.systemd else "systemd"
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate chain and key, PEM."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig:
    """The admin listener; without a token only health and metrics answer."""

    listen: Listener
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """``server.limits``: how much at once, in each worker. None: no limit."""

    connections: int | None
    connections_per_address: int | None
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """``server:``."""

    listen: tuple[Listener, ...]
    workers: int | Literal["auto"]
    public_url: str
    """Origin users see, such as ``https://app.example.com``: no path, no trailing slash."""
    base_path: str
    """Without trailing slash: ``/_gateway``."""
    templates: Path | None
    """Folder with templates of the operator's own."""
    trusted_proxies: tuple[Network, ...]
    trust_unix: bool
    """Whether peers on a Unix socket are trusted proxies."""
    tls: tuple[TlsFiles, ...]
    """The first is for whoever asks for no name that another has. Empty: plain HTTP."""
    admin: AdminConfig | None
    limits: ServerLimits
    tracing: bool
    """Whether a request without a valid ``traceparent`` gets one."""
    request_log: bool
    """Whether each request writes a log line."""
    drain_timeout: float
    """How long in-flight requests have after SIGTERM."""
    keepalive_timeout: float
    """How long an idle client connection stays open."""
    header_timeout: float
    """How long a client may take to send a request's head."""


NOWHERE = "nowhere://"
"""In the place of a store's URL: sessions are in their cookies alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """``session:``."""

    strategy: Literal["server", "jwt"]
    """Whether the cookie holds a token, and the store the session; or the cookie the session."""
    format: Literal["gateway", "nextauth", "authjs", "nextauth-database"]
    """Who else reads them."""
    tables: Tables | None = None
    """Of the app that finds sessions in its own database; None: none does."""
    forward_to: frozenset[str] = frozenset()
    """Names of upstreams that get them; none, where they are the gateway's own alone."""
    store: str = field(repr=False)
    """URL, maybe with a password; or ``NOWHERE``. A relative SQLite path is already made absolute
    from the file's folder."""
    secrets: tuple[str, ...] = field(repr=False)
    """The first signs and seals, all verify and open. Empty: none was given."""
    encrypt: bool
    """Whether stores get sessions sealed; only with a secret."""
    anonymous: bool
    """Whether visitors get sessions."""
    remember: Remember
    max_per_user: int | None
    new_token: Callable[[], object] | None
    """The operator's own, whose results are to be checked; None: ours."""
    cookie: CookieShape
    lifetime: Lifetime
    cache: bool
    stale_for: float
    """Seconds that sessions may be stale while the store cannot be asked; 0: none is served."""
    store_timeout: float
    accept: tuple[Accepted, ...] = ()
    """Sources of sessions that others issue, in the order in which they count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersProvider:
    """A provider of ``type: users``."""

    id: str
    name: str
    """What the sign-in page calls it."""
    file: Path
    id_prefix: str = ""
    """What its users' ids begin with."""
    reserved: tuple[str, ...] = ()
    """What none of them may begin with: prefixes of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginConfig:
    """``login:``."""

    path: str
    """Without trailing slash: ``/_gateway/auth``."""
    url: str | None
    """The operator's own sign-in page, with ``{return_to}`` where the address to return to goes."""
    providers: tuple[UsersProvider, ...]

    @property
    def page(self) -> str:
        """The address of the sign-in page, the operator's or ours, with ``{return_to}``."""
        return sign_in_page(self.path) if self.url is None else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole file."""

    file: str
    server: ServerConfig
    session: SessionConfig
    identity_headers: Mapping[str, IdentityField]
    """Header name, as it is to be sent, to what it carries; in the order of the file."""
    login: LoginConfig
    roles: RoleTable
    callbacks: OwnCallbacks | None
    """The operator's own; None: there are none."""
    upstreams: Mapping[str, Upstream]
    table: RouteTable
    """The routes, compiled, with ``defaults`` as the stand-in for what none owns."""
    tests: tuple[PolicyTest, ...]
    warnings: tuple[Problem, ...] = ()
