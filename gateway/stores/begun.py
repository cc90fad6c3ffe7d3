"""A session that has begun, or got another token: what is told to whoever gives it to a browser."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model import Session, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A session, and the token that opens it, which nobody keeps but the browser."""

    session: Session
    token: Token = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A session as it is after a change, and its new token, where it got one."""

    session: Session
    begun: Begun | None = None
    """What the browser is to be given; None: its token stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """From where a session begins."""

    device: str = ""
    """``User-Agent``, as it came."""
    address: str = ""
