"""What the URL of a Redis store says: one server, several Sentinels, or nodes of a Cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

SCHEMES = (
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
"""With a second ``s`` everything goes through TLS, to Sentinels as well."""

EXPECTED = (
    "redis://host:port/db, redis+sentinel://host,host/db?service=name or redis+cluster://host"
)
"""How such a URL looks, for messages."""

REDIS_PORT, SENTINEL_PORT = 6379, 26379

_HOST = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)(?::([0-9]{1,5}))?"
)
# Files as redis-py calls them in its URLs, so that a URL that works elsewhere works here.
_FILES = {"ssl_ca_certs": "ca", "ssl_certfile": "cert", "ssl_keyfile": "key"}
_CHECKED = {"ssl_check_hostname": "", "ssl_cert_reqs": ""}
_SENTINEL = {
    "service": "service",
    "service_name": "service",
    "sentinel_username": "sentinel_username",
    "sentinel_password": "sentinel_password",
}


class Deployment(StrEnum):
    """How Redis is run."""

    ALONE = "alone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """Where Redis is, and as whom it is used."""

    deployment: Deployment
    hosts: tuple[tuple[str, int], ...]
    """The server; or the Sentinels; or those nodes of the Cluster that are asked for the others."""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    service: str = ""
    """What the Sentinels call the primary."""
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: bool = False
    ca: Path | None = None
    """Who may have signed the servers' certificates; None: whoever the system trusts."""
    cert: Path | None = None
    """Our own certificate."""
    key: Path | None = None
    """Its private key; None: in the file of ``cert``."""
    check_hostname: bool = True
    """Whether a certificate must name the server that shows it."""


def is_redis(url: str) -> bool:
    """Whether the URL means Redis at all."""
    return url.partition("://")[0] in SCHEMES


def parse_redis_url(url: str, folder: Path | None = None) -> RedisUrl:
    """Read ``redis[s][+sentinel|+cluster]://[user[:password]@]host[:port][,…][/db][?options]``.

    User and password are percent-encoded. Files are relative to ``folder``, or else to where the
    process runs. What Sentinels call the primary may also stand where others write it, in front of
    the database: ``/service[/db]``.

    Raises:
        ValueError: It is none. The message repeats nothing of it, for it may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES or not url.isprintable() or " " in url:
        raise ValueError(f"expected {EXPECTED}")
    protocol, _, kind = scheme.partition("+")
    deployment = Deployment(kind or "alone")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    username, _, password = credentials.partition(":")
    values = _options(query, deployment, protocol == "rediss", folder)
    if deployment is Deployment.SENTINEL:
        path, values["service"] = _service(path, values.get("service", ""))
    return RedisUrl(
        deployment=deployment,
        hosts=_hosts(hosts, deployment),
        database=_database(path, deployment),
        username=unquote(username),
        password=unquote(password),
        tls=protocol == "rediss",
        **values,
    )


def absolute(url: str, folder: Path) -> str:
    """Return a sound URL with its files relative to nothing."""
    base, mark, query = url.partition("?")
    pairs = [
        (name, str(folder.absolute() / value) if name in _FILES else value)
        for name, value in parse_qsl(query)
    ]
    return base + mark + "&".join(f"{name}={quote(value)}" for name, value in pairs)


def _hosts(text: str, deployment: Deployment) -> tuple[tuple[str, int], ...]:
    default = SENTINEL_PORT if deployment is Deployment.SENTINEL else REDIS_PORT
    hosts = []
    for one in text.split(","):
        match = _HOST.fullmatch(one)
        if match is None or not 1 <= int(match[2] or default) <= 65535:
            raise ValueError("expected host:port after redis://, or user:password@host:port")
        hosts.append((match[1].strip("[]").lower(), int(match[2] or default)))
    if deployment is Deployment.ALONE and len(hosts) > 1:
        raise ValueError("several hosts are written redis+sentinel:// or redis+cluster://")
    return tuple(hosts)


def _database(path: str, deployment: Deployment) -> int:
    if path and not (path.isascii() and path.isdecimal()):
        raise ValueError("expected a number after the host: the database")
    database = int(path or 0)
    if database and deployment is Deployment.CLUSTER:
        raise ValueError("a Redis Cluster has database 0 only")
    return database


def _service(path: str, service: str) -> tuple[str, str]:
    """Return the path without a service, and the service from wherever it stands."""
    first, _, database = path.partition("/")
    if first and not (first.isascii() and first.isdecimal()):
        if service:
            raise ValueError("expected one name of the primary: as a path or as ?service=")
        path, service = database, unquote(first)
    if not service:
        raise ValueError("expected ?service=, what the Sentinels call the primary")
    return path, service


def _options(query: str, deployment: Deployment, tls: bool, folder: Path | None) -> dict[str, Any]:
    names = {**_FILES, **_CHECKED} if tls else {}
    if deployment is Deployment.SENTINEL:
        names |= _SENTINEL
    values: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise ValueError("expected name=value, joined by &, after the question mark") from None
    for name, value in pairs:
        if name not in names or not value:
            known = ", ".join(names) if names else "none"
            raise ValueError(f"options after the question mark: {known}")
        if name in _FILES:
            values[_FILES[name]] = (folder or Path()).absolute() / value
        elif name == "ssl_check_hostname":
            if value.lower() not in ("true", "false"):
                raise ValueError("expected ssl_check_hostname=true or false")
            values["check_hostname"] = value.lower() == "true"
        elif name == "ssl_cert_reqs":
            if value.lower() != "required":
                raise ValueError("expected ssl_cert_reqs=required: certificates are always checked")
        else:
            values[_SENTINEL[name]] = value
    if "key" in values and "cert" not in values:
        raise ValueError("ssl_keyfile goes with ssl_certfile")
    return values
