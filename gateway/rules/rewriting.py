"""Undo in an upstream's answer what was done to the request's path and host.

An upstream that lives under another prefix, or is called by its own address, speaks of its own
places: of redirects, of the paths of its cookies. What it says of other hosts is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urljoin

_REFERENCE = re.compile(
    r"(?:(?P<scheme>https?):)?//(?P<authority>[^/?#]*)(?P<rest>.*)", re.I | re.S
)
_OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PATH_END = re.compile(r"[?#]")
_REFRESH = re.compile(r"(\s*[0-9.]+\s*[;,]\s*(?:url\s*=\s*)?)(['\"]?)([^'\"]+)(\2\s*)", re.I)
_COOKIE_PATH = re.compile(r"(;\s*path\s*=\s*)([^;]*)", re.I)


class Rewriting:
    """The way back for one route.

    Args:
        strip: The prefix that requests lose; canonical, without a slash at its end.
        add: The one that they get.
        upstream: The authorities that the upstream is called by where these are not the client's
            ``Host``; its URLs then become paths, for nobody else could follow them.
    """

    __slots__ = ("_add", "_strip", "_upstream")

    def __init__(self, strip: str, add: str, upstream: frozenset[str]) -> None:
        self._strip = strip
        self._add = add
        self._upstream = frozenset(map(str.lower, upstream))

    def reference(self, value: str, *, own_hosts: Collection[str], target: str) -> str:
        """Return a ``Location`` or ``Content-Location`` as the client has to read it.

        Args:
            own_hosts: Authorities by which clients call us, as in ``Host``.
            target: The path that the upstream was asked for; relative references begin there.
        """
        absolute = _REFERENCE.fullmatch(value)
        if absolute is not None:
            scheme, authority, rest = absolute.group("scheme", "authority", "rest")
            named = _usual(authority, scheme)
            if named in self._upstream:
                return self._path(rest if rest.startswith("/") else f"/{rest}")
            if named not in {_usual(host, scheme) for host in own_hosts}:
                return value
            front = value[: absolute.start("rest")]
            return front + self._path(rest) if rest.startswith("/") else value
        if value.startswith("/"):
            return self._path(value)
        if not (self._strip or self._add) or value[:1] in ("", "?", "#"):
            return value
        if _OTHER_SCHEME.match(value):
            return value
        # The client would begin at its own path, which need not end in the same way.
        return self._path(urljoin(target, value))

    def refresh(self, value: str, *, own_hosts: Collection[str], target: str) -> str:
        """Return a ``Refresh`` field as the client has to read it."""
        match = _REFRESH.fullmatch(value)
        if match is None:
            return value
        front, quote, url, end = match.groups()
        url = self.reference(url.strip(), own_hosts=own_hosts, target=target)
        return f"{front}{quote}{url}{end}"

    def cookie(self, value: str) -> str:
        """Return a ``Set-Cookie`` whose ``Path`` is one that the client uses."""
        # Browsers take a __Host- cookie with Path=/ only (RFC 6265bis section 4.1.3.2).
        if value.lstrip().lower().startswith("__host-"):
            return value
        return _COOKIE_PATH.sub(self._cookie_path, value)

    def _cookie_path(self, match: re.Match[str]) -> str:
        path = match[2].strip()
        if not path.startswith("/"):
            return match[0]  # browsers take the directory of the request's path, which is right
        # `/app` covers `/app/x` too; `/app/` does not cover `/app`.
        back = self._path(path)
        return match[1] + (back.rstrip("/") or "/" if path in ("/", self._add) else back)

    def _path(self, reference: str) -> str:
        """Return where clients find what the upstream calls by a path, with what follows it."""
        if not self._strip and not self._add:
            return reference
        end = _PATH_END.search(reference)
        path = reference if end is None else reference[: end.start()]
        rest = reference[len(path) :]
        if self._add:
            if path != self._add and not path.startswith(f"{self._add}/"):
                return reference  # no request of this route leads there
            path = path[len(self._add) :]
        return (self._strip + path or "/") + rest


def _usual(authority: str, scheme: str | None) -> str:
    """Return an authority in lower case, without the port that its scheme has anyway.

    Without a scheme it may be either.
    """
    authority, scheme = authority.lower(), None if scheme is None else scheme.lower()
    if scheme != "https":
        authority = authority.removesuffix(":80")
    if scheme != "http":
        authority = authority.removesuffix(":443")
    return authority
