"""Which of a request's cookies are other frameworks' sessions, and which upstream gets them.

They are read as our own are (``rules.cookies``): one exact name, once. What is there twice is
nobody's session, and goes nowhere: parsers differ on which of the two counts. And what somebody
could read as one of them, but is not, is dropped as well, so that an app never sees another session
than the one that was checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.rules.cookies import Looks, look_alikes

MOST = 300
"""Cookies of one request. Browsers keep 180 for a site; looking at each of many more costs time."""

_BLANK = b" \t"
_PIECE = re.compile(rb"\.[0-9]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppCookie:
    """The cookies of one source."""

    names: tuple[str, ...]
    """Those that it may have, without their pieces."""
    beginnings: bool = False
    """Whether the app takes all that begins with a name for a piece."""
    forward_to: frozenset[str]
    """Upstreams that get them."""


@dataclass(slots=True)
class Sorted:
    """The cookies of a request, but for the gateway's own."""

    found: dict[str, bytes]
    """Those of sources, by name, pieces as well: what was sent exactly once."""
    parts: list[tuple[bytes, frozenset[str] | None]]
    """All that may go on, in its order, and to which upstreams; None: to all."""
    _for: dict[str, bytes] = field(default_factory=dict)

    def for_upstream(self, upstream: str) -> bytes:
        """Return the value of ``Cookie`` for an upstream; empty: there is none."""
        known = self._for.get(upstream)
        if known is None:
            known = self._for[upstream] = b"; ".join(
                [part for part, to in self.parts if to is None or upstream in to]
            )
        return known


class AppCookies:
    """Sorts cookies, by what is configured."""

    def __init__(self, sources: Iterable[AppCookie]) -> None:
        sources = tuple(sources)
        self._sources = [(_encoded(source), source.forward_to) for source in sources]
        self._names = frozenset(name for names, _ in self._sources for name in names)
        self._looks = _look_alikes(sources)
        self._all = sources

    def sort(self, cookies: bytes) -> Sorted | None:
        """Sort a value of ``Cookie``; None: nothing in it concerns any source.

        Of more cookies than any browser sends none is read, and none goes on.

        Args:
            cookies: As ``rules.cookies.read`` returns it. Nothing in it raises.
        """
        if not self._possible(cookies):
            return None
        if cookies.count(b";") >= MOST:
            return Sorted({}, [])
        found: dict[bytes, tuple[bytes, int]] = {}
        twice: set[int] = set()
        parts: list[tuple[bytes, int | None]] = []
        for each in cookies.split(b";"):
            part = each.strip(_BLANK)
            name, _, content = part.partition(b"=")
            name = name.strip(_BLANK)
            owner = self._owner(name)
            if owner is not None:
                if name in found:
                    twice.add(owner)
                found[name] = content.strip(_BLANK), owner
                parts.append((part, owner))
            elif part and not self._alike(part):
                parts.append((part, None))
        return Sorted(
            {
                name.decode("latin-1"): content
                for name, (content, owner) in found.items()
                if owner not in twice
            },
            [
                (part, None if owner is None else self._sources[owner][1])
                for part, owner in parts
                if owner not in twice
            ],
        )

    def kept_from(self, upstream: str) -> tuple[Looks, ...]:
        """Return what finds the cookies that an upstream must not set."""
        return _look_alikes([one for one in self._all if upstream not in one.forward_to])

    def _possible(self, text: bytes) -> bool:
        if b"%" in text:
            return True
        for looks in self._looks:  # noqa: SIM110 - as in ``Looks.possible``
            if looks.possible(text):
                return True
        return False

    def _alike(self, part: bytes) -> bool:
        return self._possible(part) and any(looks.alike(part) for looks in self._looks)

    def _owner(self, name: bytes) -> int | None:
        """Return the first source with this cookie."""
        if name not in self._names and b"." not in name:
            return None
        for at, (names, _) in enumerate(self._sources):
            for own in names:
                if name == own or (
                    name.startswith(own) and _PIECE.fullmatch(name, len(own)) is not None
                ):
                    return at
        return None


def _encoded(source: AppCookie) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in source.names)


def _look_alikes(sources: Iterable[AppCookie]) -> tuple[Looks, ...]:
    by_kind: dict[bool, set[bytes]] = {}
    for source in sources:
        by_kind.setdefault(source.beginnings, set()).update(_encoded(source))
    return tuple(
        look_alikes(frozenset(names), beginnings=beginnings)
        for beginnings, names in by_kind.items()
    )
