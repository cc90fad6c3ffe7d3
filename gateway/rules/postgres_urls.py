"""What the URL of a PostgreSQL store may say. asyncpg reads it; here stands what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote

SCHEMES = ("postgresql", "postgres")

EXPECTED = "postgresql://user@host:port/database"
"""How such a URL looks, for messages."""

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)")
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES = ("sslrootcert", "sslcert", "sslkey")
_OPTIONS = ("sslmode", *_FILES, "host", "target_session_attrs", "search_path")
"""As PostgreSQL's own programs call them. asyncpg would send what it does not know to the server:
a misspelt ``sslmode`` must not end in a connection without TLS."""


def is_postgres(url: str) -> bool:
    """Whether the URL means PostgreSQL at all."""
    return url.partition("://")[0] in SCHEMES


def parse_postgres_url(url: str, folder: Path) -> dict[str, str]:
    """Return the options of ``postgresql://[user[:password]@]host[:port][,…]/database[?options]``,
    with files relative to nothing.

    User and password are percent-encoded. A Unix socket's folder is given as ``?host=``.

    Raises:
        ValueError: It is none. The message repeats nothing of it, for it may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES or not url.isprintable() or set(" #") & set(url):
        raise ValueError(f"expected {EXPECTED}")
    rest, _, query = rest.partition("?")
    authority, _, database = rest.partition("/")
    options = _options(query)
    _, _, hosts = authority.rpartition("@")
    if "@" in authority.removesuffix(f"@{hosts}"):
        raise ValueError("an @ in the user or password is written %40")
    if hosts or "host" not in options:
        for host in hosts.split(","):
            _check_host(host)
    if not database or "/" in database:
        raise ValueError("expected the database after the host: postgresql://host/database")
    if options.get("sslmode", "").startswith("verify-") and "sslrootcert" not in options:
        raise ValueError("sslmode=verify-ca and verify-full go with sslrootcert, a file")
    if "sslkey" in options and "sslcert" not in options:
        raise ValueError("sslkey goes with sslcert")
    files = {name: str(folder.absolute() / options[name]) for name in _FILES if name in options}
    return {**options, **files}


def absolute(url: str, folder: Path) -> str:
    """Return a sound URL with its files relative to nothing."""
    options = parse_postgres_url(url, folder)
    base, mark, _ = url.partition("?")
    return base + mark + "&".join(f"{name}={quote(value)}" for name, value in options.items())


def _check_host(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "5432"
    if _HOST.fullmatch(host) is None or not re.fullmatch(r"[1-9][0-9]{0,4}", port):
        raise ValueError("expected host:port after postgresql://, or user:password@host:port")
    if int(port) > 65535:
        raise ValueError("a port is a number from 1 to 65535")


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise ValueError("expected name=value, joined by &, after the question mark") from None
    for name, value in pairs:
        if name not in _OPTIONS or not value:
            raise ValueError(f"options after the question mark: {', '.join(_OPTIONS)}")
        if name == "sslmode" and value not in _MODES:
            raise ValueError(f"sslmode is one of {', '.join(_MODES)}")
    return dict(pairs)
