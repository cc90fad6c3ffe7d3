"""What a route changes in the header fields of its answers, for browsers and caches between."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from gateway.model import Cors, SecurityHeaders, ShapedHeaders
from gateway.rules.cors import Pairs, answer_fields
from gateway.rules.headers import Kind

_CACHING = (b"cache-control", b"expires", b"pragma")
_SAID = {**dict.fromkeys(_CACHING, int(Kind.CACHING)), b"vary": int(Kind.VARY)}

_PRIVATE = b"Cache-Control: private"
_VARY_COOKIE = b"Vary: Cookie"
# By whether somebody is signed in, then by what the upstream said.
_CACHE_LINES: dict[tuple[bool, int], tuple[bytes, ...]] = {
    (False, 0): (_VARY_COOKIE,),
    (False, Kind.CACHING): (_VARY_COOKIE,),
    (True, 0): (_PRIVATE, _VARY_COOKIE),
    (True, Kind.CACHING): (_VARY_COOKIE,),
    (False, Kind.VARY): (),
    (False, Kind.CACHING + Kind.VARY): (),
    (True, Kind.VARY): (_PRIVATE,),
    (True, Kind.CACHING + Kind.VARY): (),
}


def cache_lines(said: int, lines: list[bytes], signed_in: bool) -> tuple[bytes, ...]:
    """Return the lines that an answer lacks whose content may depend on who asked.

    Nothing said about caching lets every cache on the way keep the answer and give it to others
    (RFC 9111 section 4.2.2): such an answer to somebody who is signed in is for their browser only.

    Args:
        said: What is among the lines, as ``ResponseFields.split`` tells.
    """
    added = _CACHE_LINES[signed_in, said]
    if said & Kind.VARY and not varies_by(lines, b"cookie"):
        return (*added, _VARY_COOKIE)
    return added


def unstored(lines: Iterable[bytes]) -> list[bytes]:
    """Return the lines of an answer that no cache may keep, whatever its upstream says.

    It gives somebody a session: a cache that passed it on would give that to everybody.
    """
    return [*(line for line in lines if _name(line) not in _CACHING), b"Cache-Control: no-store"]


def varies_by(lines: Iterable[bytes], name: bytes) -> bool:
    """Whether ``Vary`` fields among the lines name a request field, or ``*``."""
    return any(line[:5].lower() == b"vary:" and _names(line[5:], name) for line in lines)


@lru_cache(maxsize=256)  # measured: 0.6 us for `Accept-Encoding`, which most upstreams say
def _names(value: bytes, name: bytes) -> bool:
    return any(token.strip().lower() in (name, b"*") for token in value.split(b","))


def security_fields(wanted: SecurityHeaders, *, https: bool) -> Pairs:
    """Return the fields that tell browsers to be careful.

    Args:
        https: Whether users come by https; without it browsers must ignore HSTS (RFC 6797
            section 8.1), and would hold it against other ports once they do not.
    """
    fields: Pairs = ()
    if https and wanted.hsts is not None:
        more = "; includeSubDomains" if wanted.include_subdomains else ""
        fields += (("Strict-Transport-Security", f"max-age={int(wanted.hsts)}{more}"),)
    if wanted.nosniff:
        fields += (("X-Content-Type-Options", "nosniff"),)
    if wanted.frame_options is not None:
        fields += (("X-Frame-Options", wanted.frame_options),)
    if wanted.referrer_policy is not None:
        fields += (("Referrer-Policy", wanted.referrer_policy),)
    return fields


def names_of(headers: ShapedHeaders) -> tuple[str, ...]:
    """Return the names of which nothing that came is passed on."""
    return (*(name for name, _ in headers.fields), *headers.removed)


class AnswerShape:
    """What one route changes in its answers; prepared when the configuration is loaded.

    In this order: what the operator removes goes, ``Access-Control-*`` of the upstream give way to
    ours, the operator's own fields replace those of the same name, and what keeps browsers careful
    is added where nobody said anything about it.
    """

    __slots__ = ("_cors", "_dropped", "_security", "_set")

    def __init__(self, *, cors: Cors | None, headers: ShapedHeaders, security: Pairs) -> None:
        self._cors = cors
        self._set = field_lines(headers.fields)
        self._security = field_lines(security)
        self._dropped = frozenset(name.lower().encode() for name in names_of(headers))

    def apply(self, lines: list[bytes], origin: str | None) -> tuple[list[bytes], int]:
        """Return the lines of an upstream's answer as the client gets them, and what they say.

        Args:
            lines: Without line ends; not those of framing, connection and cookies.
            origin: The request's ``Origin``, if it has exactly one.
        """
        cors, dropped = self._cors, self._dropped
        kept = []
        for line in lines:
            name = _name(line)
            if name not in dropped and (cors is None or not name.startswith(b"access-control-")):
                kept.append(line)
        if cors is not None:
            told = _besides(kept, field_lines(answer_fields(cors, origin)))
            kept += [line for line in told if _name(line) not in dropped]
        kept += self._set
        kept += _missing(kept, self._security)
        return kept, _said(kept)

    def own(self, fields: Pairs, origin: str | None) -> Pairs:
        """Return the fields of an answer of the gateway's own to a request on the route."""
        lines = field_lines(fields)
        added = list(_missing(lines, self._security))
        if self._cors is not None:
            added += _besides(lines, field_lines(answer_fields(self._cors, origin)))
        return fields + tuple(_pair(line) for line in added)


def field_lines(fields: Iterable[tuple[str, str]]) -> tuple[bytes, ...]:
    """Return header fields as lines without line ends."""
    return tuple(f"{name}: {value}".encode("latin-1") for name, value in fields)


def _pair(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(": ")
    return name, value


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


def _missing(lines: Iterable[bytes], wanted: Iterable[bytes]) -> list[bytes]:
    there = {_name(line) for line in lines}
    return [line for line in wanted if _name(line) not in there]


def _besides(lines: Iterable[bytes], fields: Iterable[bytes]) -> list[bytes]:
    """Return the fields of CORS, without the ``Vary`` that the lines say already."""
    return [line for line in fields if _name(line) != b"vary" or not varies_by(lines, b"origin")]


def _said(lines: Iterable[bytes]) -> int:
    said = 0
    for line in lines:
        said |= _SAID.get(_name(line), 0)
    return said
