"""The tests a policy file brings along: ``GET /admin as role=user -> 403``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.model import User


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTest:
    """One line of ``tests:``, understood."""

    text: str
    """As written."""
    line: int
    method: str
    target: str
    """A path with query, or a URL with a host."""
    user: User | None
    """None: anonymous."""
    status: int
    kind: str = ""
    """``login``: a redirect to sign-in; ``json``: a problem+json body; empty: not asked."""


_SHAPE = re.compile(
    r"(?P<method>[A-Z]+)\s+(?P<target>\S+)\s+as\s+(?P<who>.+?)\s*->\s*"
    r"(?P<status>[1-5]\d\d)(?:\s+(?P<kind>login|json))?"
)
_SOMEBODY = "test-user"


def parse_test(text: str, line: int) -> PolicyTest:
    """Understand one line.

    Raises:
        ValueError: It is not of the form; the message says what is expected.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            "expected METHOD PATH as WHO -> STATUS [login|json], "
            "for example: GET /admin as role=user -> 403"
        )
    target = match["target"]
    if not target.startswith(("/", "http://", "https://")):
        raise ValueError(f"expected a path or a URL, not {target!r}")
    return PolicyTest(
        text=text.strip(),
        line=line,
        method=match["method"],
        target=target,
        user=_who(match["who"]),
        status=int(match["status"]),
        kind=match["kind"] or "",
    )


def _who(text: str) -> User | None:
    if text.strip() == "anonymous":
        return None
    user_id, roles, permissions = _SOMEBODY, (), ()
    for word in text.split():
        name, equals, value = word.partition("=")
        values = tuple(filter(None, value.split(",")))
        if not equals or not values:
            raise ValueError(f"expected anonymous, user=ID, role=a,b or permission=p, not {word!r}")
        match name:
            case "user":
                user_id = value
            case "role":
                roles += values  # type: ignore[assignment]
            case "permission":
                permissions += values  # type: ignore[assignment]
            case _:
                raise ValueError(f"expected user=, role= or permission=, not {name!r}")
    return User(id=user_id, roles=roles, permissions=permissions)
