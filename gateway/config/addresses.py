"""Addresses that operators write: listeners, origins, upstream URLs, networks, pages, paths.

Every function raises ``ValueError`` that says what is expected. No message holds the address
itself: it may have come from the environment, and the caller knows how to show it.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address, ip_network
from typing import Literal
from urllib.parse import urlsplit

from gateway.config.config import Listener
from gateway.model import Network, Target

DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?)"
_HOST_AND_PORT = re.compile(_HOST + r":(?P<port>[0-9]{1,5})")
_URL = re.compile(r"(?P<scheme>https?)://" + _HOST + r"(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()+,=:@-]+)+")
# systemd.socket(5): no control characters and no colon; here also nothing that reads oddly.
_SYSTEMD = re.compile(r"systemd(?::([A-Za-z0-9_.@-]{1,255}))?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def parse_listener(text: str) -> Listener:
    """Read ``host:port``, ``[::1]:port``, ``unix:/path`` or ``systemd[:NAME]``.

    Port 0 lets the system choose.
    """
    if (systemd := _SYSTEMD.fullmatch(text)) is not None:
        return Listener(systemd=systemd[1] or "")
    if text.startswith("unix:"):
        return Listener(path=_socket_path(text))
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError("expected host:port, [::1]:port, unix:/path or systemd")
    return Listener(host=_host(match["host"]), port=_port(match["port"], least=0))


def parse_origin(text: str) -> str:
    """Return an origin as browsers write it: lower-case, without the scheme's usual port."""
    match = _URL.match(text)
    if match is None:
        raise ValueError("expected an origin such as https://app.example.com")
    if match.end() != len(text):
        if text[match.end()] in "/?#":
            raise ValueError("an origin ends with its host or port: no path, no slash at the end")
        raise ValueError("expected an origin such as https://app.example.com")
    scheme, host = match["scheme"].lower(), _host(match["host"])
    port = _port(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port == DEFAULT_PORTS[scheme] else f":{port}")


def parse_cross_origin(text: str) -> str:
    """Return an origin whose pages may use a route, or ``*`` for every one."""
    return text if text == "*" else parse_origin(text)


def parse_target(text: str) -> Target:
    """Read where an upstream listens: ``http://…``, ``https://…`` or ``unix:/path``."""
    if text.startswith("unix:"):
        return Target(scheme="unix", path=_socket_path(text))
    match = _URL.match(text)
    if match is not None and text[match.end() :] in ("", "/"):
        scheme = match["scheme"].lower()
        port = _port(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
        return Target(scheme=scheme, host=_host(match["host"]), port=port)
    authority, _, rest = text.partition("://")[2].partition("/")
    if "@" in authority:
        raise ValueError("an upstream's URL has no user name or password")
    if match is not None and (rest or text[match.end()] in "?#"):
        raise ValueError(
            "an upstream's URL ends with its host or port; a route's add_prefix adds a path"
        )
    raise ValueError("expected http://host:port, https://host:port or unix:/path")


def parse_network(text: str) -> Network:
    """Read a network or a single address."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected a network such as 10.0.0.0/8, or an address") from None
    raise ValueError(f"the address has bits beyond its /{whole.prefixlen}; write the network's own")


def parse_proxy(text: str) -> Network | Literal["unix"]:
    """Read a trusted proxy: a network, or ``unix`` for whoever comes through a Unix socket."""
    return "unix" if text == "unix" else parse_network(text)


def plain_path(text: str) -> str:
    """Check a path of literal segments; a slash at its end is dropped."""
    path = text.removesuffix("/")
    if not _PLAIN_PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ValueError("expected a plain path such as /app: no %, *, {, empty or dot segment")
    return path


def cookie_path(text: str) -> str:
    """Check the ``Path`` of a cookie (RFC 6265 section 4.1.1)."""
    if not text.startswith("/") or ";" in text or not _VISIBLE.fullmatch(text):
        raise ValueError("expected a path such as /, without ; or space")
    return text


def page_address(text: str) -> str:
    """Check where a browser may be sent: a path of ours or an http(s) URL, printable ASCII."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    ours = text.startswith("/") and not text.startswith("//")
    if (
        "\\" in text
        or not _VISIBLE.fullmatch(text)
        or not (ours or (parts.scheme in DEFAULT_PORTS and host and parts.username is None))
    ):
        raise ValueError("expected a path such as /welcome, or a URL with http:// or https://")
    if re.search(r"[{}]", text.replace("{return_to}", "")):
        raise ValueError("the only placeholder is {return_to}")
    return text


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or path.startswith("//") or path.endswith("/"):
        raise ValueError(
            "expected unix: and the socket's absolute path, such as unix:/run/app.sock"
        )
    if len(path.encode()) > 107:
        raise ValueError("a socket's path has at most 107 bytes")
    return path


def _host(text: str) -> str:
    if not text.startswith("["):
        return text.lower()
    try:
        return str(IPv6Address(text[1:-1]))
    except AddressValueError:
        raise ValueError("between brackets stands no IPv6 address") from None


def _port(text: str, least: int = 1) -> int:
    if not least <= int(text) <= 65535:
        raise ValueError(f"a port is a number from {least} to 65535")
    return int(text)
