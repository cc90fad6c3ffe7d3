"""What is to be said of a cookie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.model import User


class Verdict(StrEnum):
    """Whether a cookie is a session."""

    SESSION = "session"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """What would tell is not at hand: a secret, or a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBy:
    """Which of the configured secrets it was; nothing of the secret itself."""

    number: int
    """Its place in the list, from one; of iron-session the number of the password."""
    of: int
    """How many there are."""
    fingerprint: str
    """As ``gateway secrets`` shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cookie, as one format."""

    format: str
    source: str | None = None
    """As it is called in ``session.accept``; None: without a configuration, or our own."""
    cookie: str
    """Its name; empty: not known."""
    verdict: Verdict
    why: str | None = None
    """Where it is no session: a stable word, for programs."""
    detail: str | None = None
    """The same for people."""
    opened_by: OpenedBy | None = None
    expires: str | None = None
    user: dict[str, Any] | None = None
    """Whom the gateway makes of it; None: nobody is signed in."""
    dropped: tuple[str, ...] = ()
    """What it says of the user, and is not allowed or able to."""
    session: dict[str, Any] | None = None
    """One of our own, as the store describes it."""
    claims: dict[str, Any] | None = None

    def refused(self, why: str, detail: str) -> Finding:
        """Return the same as no session."""
        return replace(self, verdict=Verdict.REFUSED, why=why, detail=detail)

    def unknown(self, detail: str) -> Finding:
        """Return the same as something that cannot be told."""
        return replace(self, verdict=Verdict.UNKNOWN, detail=detail)

    def as_json(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return asdict(self)


def opened_by(secret: str, number: int, secrets: Sequence[str]) -> OpenedBy:
    """Return which secret it was."""
    from gateway.stores.sealing import record_key_id

    return OpenedBy(number=number, of=len(secrets), fingerprint=record_key_id(secret).hex())


def whom(user: User) -> dict[str, Any]:
    """Return a user, ready for JSON."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "roles": user.roles,
        "permissions": user.permissions,
    }


@contextmanager
def store_reasons() -> Iterator[list[str]]:
    """Collect why stores say that something is no session, instead of logging it."""
    import structlog

    reasons: list[str] = []

    def collect(_logger: object, _method: str, event: Any) -> Any:
        if event["event"] == "corrupt_record":
            reasons.append(event["error"])
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[collect])
    try:
        yield reasons
    finally:
        structlog.configure(processors=before)
