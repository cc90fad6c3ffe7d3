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
    column: int
    method: str
    target: str
    """A path with query, or a URL with a host."""
    user: User | None
    """None: anonymous."""
    status: int
    kind: str = ""
    """``login``: a redirect to sign-in; ``json``: a problem+json body; empty: not asked."""


_SHAPE = re.compile(
    r"(?P<method>[A-Z][A-Z-]*)\s+(?P<target>\S+)\s+as\s+(?P<who>.+?)\s*->\s*"
    r"(?P<status>[1-5]\d\d)(?:\s+(?P<kind>login|json))?"
)
SOMEBODY = "test-user"
"""The id of a caller of whom only roles or permissions are said."""


def parse_test(text: str, line: int, column: int) -> PolicyTest:
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
    return PolicyTest(
        text=text.strip(),
        line=line,
        column=column,
        method=match["method"],
        target=check_target(match["target"]),
        user=_who(match["who"]),
        status=int(match["status"]),
        kind=match["kind"] or "",
    )


def check_target(target: str) -> str:
    """Return what a request may be addressed to: a path with query, or a URL.

    Raises:
        ValueError: It is neither.
    """
    if not target.startswith(("/", "http://", "https://")):
        raise ValueError(f"expected a path or a URL, not {target!r}")
    return target


def _who(text: str) -> User | None:
    if text.strip() == "anonymous":
        return None
    user_id = ""
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    for word in text.split():
        name, equals, value = word.partition("=")
        values = tuple(filter(None, value.split(",")))
        if not equals or not values:
            raise ValueError(f"expected anonymous, user=ID, role=a,b or permission=p, not {word!r}")
        match name:
            case "user":
                if user_id:
                    raise ValueError("expected one user=ID, and no second")
                user_id = value
            case "role":
                roles += values
            case "permission":
                permissions += values
            case _:
                raise ValueError(f"expected user=, role= or permission=, not {name!r}")
    return User(id=user_id or SOMEBODY, roles=roles, permissions=permissions)
