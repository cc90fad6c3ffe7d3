"""What ``session.accept`` means: frozen, complete, nothing left to look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.rules.adapter_tables import Tables
from gateway.rules.foreign import Paths, Trust


class Kind(StrEnum):
    """What has made a session."""

    NEXTAUTH = "nextauth"
    AUTHJS = "authjs"
    DATABASE = "nextauth-database"
    IRON = "iron-session"
    EXPRESS = "express-session"
    NEXT_SESSION = "next-session"


# jose's clock tolerance; that of iron-webcrypto; and at its very last millisecond a row counts.
_LEEWAY = {Kind.NEXTAUTH: 15.0, Kind.AUTHJS: 15.0, Kind.IRON: 60.0, Kind.DATABASE: 0.001}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One source of sessions that others issue. Equal ones can go on across a reload."""

    kind: Kind
    cookies: tuple[str, ...]
    """Names its cookie may have; the first that is there counts."""
    paths: Paths
    trust: Trust
    forward_to: frozenset[str]
    """Upstreams that get its cookies."""
    touches: bool = False
    """Whether the gateway moves the end of sessions that are used."""
    max_age: float = 30 * 86400.0
    update_age: float = 300.0
    secrets: tuple[str, ...] = field(default=(), repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of iron-session, by number."""
    version: int = 9
    """Of iron-session."""
    store: str = field(default="", repr=False)
    """URL, maybe with a password; its files relative to nothing. Empty: the cookie has it all."""
    tables: Tables | None = None
    """None: the store has keys instead."""
    prefix: str = ""
    """Of keys."""

    @property
    def name(self) -> str:
        """What routes, logs and headers call it."""
        return self.trust.provider

    @property
    def leeway(self) -> float:
        """Seconds for which the framework takes a session beyond the end that it names."""
        return _LEEWAY.get(self.kind, 0.0)
