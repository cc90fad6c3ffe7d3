"""What an operator may write under ``server``.

Below each field stands what it means, its unit, its default, and what leaving it out means.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gateway.config.kinds import (
    Count,
    Duration,
    FileMode,
    Filled,
    Flag,
    Given,
    Listen,
    OneOrManyMappings,
    Origin,
    PlainPath,
    Proxy,
    Strict,
    Text,
    Workers,
)


class ListenerSettings(Strict):
    """An entry of ``server.listen``; a bare address stands for its ``address``."""

    address: Listen
    """``host:port``, ``[::1]:port``, ``unix:/path``, ``systemd`` for the sockets that systemd
    passes, or ``systemd:NAME`` for those of one ``FileDescriptorName``."""
    mode: Annotated[FileMode | None, Given] = None
    """Permissions of a Unix socket, such as ``"0660"``. Unset: as the process's umask has it."""
    proxy_protocol: Flag = False
    """Whether connections from ``trusted_proxies`` begin with a PROXY protocol header, version 1
    or 2; one that does not is closed. Default false."""

    @model_validator(mode="before")
    @classmethod
    def _bare_address(cls, value: object) -> object:
        return value if isinstance(value, dict | list) else {"address": value}


class TlsSettings(Strict):
    """``server.tls``: both files PEM, relative to the configuration's folder."""

    cert: Text
    """The certificate, followed by its chain."""
    key: Text
    """Its private key, not encrypted."""


class AdminSettings(Strict):
    """``server.admin``; a bare address stands for its ``listen``."""

    listen: Listen = Field(default="127.0.0.1:9180", validate_default=True)
    """Where the admin listener accepts connections. Default ``127.0.0.1:9180``."""
    token: Annotated[Text | None, Given] = None
    """Kept for an admin API that does not exist yet: nothing asks for it."""

    @model_validator(mode="before")
    @classmethod
    def _bare_address(cls, value: object) -> object:
        return value if isinstance(value, dict | list) else {"listen": value}


class LimitsSettings(Strict):
    """``server.limits``: how much at once, in each worker."""

    connections: Annotated[Count | None, Given] = None
    """Open connections of clients; one more is closed at once. Unset: what the system's limit on
    open files allows."""
    connections_per_address: Annotated[Count | None, Given] = None
    """Open connections from one address; one more is closed at once. Unset: no limit."""
    requests: Count = 10_000
    """Requests being answered; one more gets 503 with ``Retry-After``. Default 10000."""


class ServerSettings(Strict):
    """``server``: the near side."""

    listen: Annotated[tuple[ListenerSettings, ...], Filled, OneOrManyMappings] = Field(
        default=("127.0.0.1:8080",), validate_default=True
    )
    """Address, or list of addresses: ``host:port``, ``[::1]:port``, ``unix:/path``, ``systemd``.
    Default ``127.0.0.1:8080``."""
    public_url: Annotated[Origin | None, Given] = None
    """The origin that users see; decides ``Secure`` cookies and return-to checks. Unset:
    ``http://localhost`` (``https`` with ``tls``) and the port of the first listener with one."""
    workers: Workers = 1
    """Processes that serve, each on a core of its own; ``auto``: one for each core. Default
    ``1``."""
    base_path: PlainPath = "/_gateway"
    """Under which path the gateway's own pages live. Default ``/_gateway``."""
    templates: Annotated[Text | None, Given] = None
    """Folder with templates of your own, relative to the configuration's: each ``*.html`` there
    replaces the page of ours that has its name, and ``style.css`` the style. Unset: ours."""
    trusted_proxies: tuple[Proxy, ...] = ()
    """Networks whose ``X-Forwarded-*`` are believed; ``unix`` is every peer on a Unix socket.
    Default: nobody."""
    trust_everybody: Flag = False
    """Must be true where ``trusted_proxies`` has ``0.0.0.0/0`` or ``::/0``: whoever reaches a
    listener can then claim any address. Default false."""
    tls: Annotated[tuple[TlsSettings, ...] | None, Given, Filled, OneOrManyMappings] = None
    """Certificate and key, or a list of such pairs: the name that a client asks for chooses, and
    the first is for all others. The files are read again when they change. Unset: plain HTTP."""
    admin: Annotated[AdminSettings | None, Given] = None
    """The admin listener. Unset: there is none."""
    limits: LimitsSettings = LimitsSettings()
    """How much at once."""
    tracing: Flag = False
    """Whether a request without a valid ``traceparent`` gets one; a valid one is passed on and
    logged in any case. Default false."""
    request_log: Flag = True
    """Whether each request writes a log line. Default true."""
    drain_timeout: Duration = 30.0
    """How long in-flight requests may take after SIGTERM. Default 30s."""
    keepalive_timeout: Duration = 75.0
    """How long an idle client connection stays open. Default 75s."""
    header_timeout: Duration = 10.0
    """How long a client may take to send a request's head. Default 10s."""
