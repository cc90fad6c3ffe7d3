"""A users file: who may sign in with a password.

``users: {alice: {password: $argon2id$…, name: …, email: …, roles: [admin], disabled: false}}``
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator

from gateway.config.kinds import Flag, Given, RoleName, Strict, Text
from gateway.config.names import user_id
from gateway.config.report import Report
from gateway.config.sections import named, read
from gateway.config.source import read_source

_ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,7},t=[0-9]{1,3},p=[0-9]{1,3}\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEntry:
    """Somebody in a users file."""

    id: str
    password_hash: str = field(repr=False)
    """Argon2id, as ``gateway password`` prints it."""
    name: str | None = None
    email: str | None = None
    roles: tuple[str, ...] = ()
    disabled: bool = False
    """Whether signing in is refused."""


def _argon2id(text: str) -> str:
    if not _ARGON2ID.fullmatch(text):
        raise ValueError("expected an argon2id hash: `gateway password` makes one")
    return text


class UserSettings(Strict):
    """One entry of ``users``."""

    password: Annotated[str, AfterValidator(_argon2id)]
    """An argon2id hash: ``gateway password`` makes one."""
    name: Annotated[Text | None, Given] = None
    """What they are called. Unset: the upstream gets no name."""
    email: Annotated[Text | None, Given] = None
    """Where they get mail. Unset: the upstream gets no email address."""
    roles: tuple[RoleName, ...] = ()
    """Their roles, without what these inherit. Default: none."""
    disabled: Flag = False
    """Whether signing in is refused. Default false."""


class UsersSettings(Strict):
    """A whole users file."""

    users: Mapping[str, UserSettings]


def load_users(text: str, file: str) -> Mapping[str, UserEntry]:
    """Return the users by id.

    Raises:
        ConfigError: With every problem that there is.
    """
    users, report = read_users(text, file)
    report.raise_problems()
    return users


def read_users(
    text: str, file: str, known_roles: Collection[str] = ()
) -> tuple[Mapping[str, UserEntry], Report]:
    """Return the users that could be read, and what is wrong with the rest.

    Args:
        known_roles: If any, a role that is not among them is a warning.

    Raises:
        ConfigError: The text is no YAML.
    """
    source = read_source(text, file, None)
    report = Report(source)
    read(UsersSettings, {name: {} for name in source.data}, (), report)
    users: dict[str, UserEntry] = {}
    entries = source.data.get("users")
    for name in entries if isinstance(entries, dict) else ():
        report.hide(("users", name, "password"))
    for name, entry in named(UserSettings, entries, "users", user_id, report).items():
        path = ("users", name)
        if entry is None:
            continue
        users[name] = UserEntry(
            id=name,
            password_hash=entry.password,
            name=entry.name,
            email=entry.email,
            roles=entry.roles,
            disabled=entry.disabled,
        )
        for index, role in enumerate(entry.roles):
            if known_roles and role not in known_roles:
                report.warn((*path, "roles", index), "`roles` does not know %v", *known_roles)
    return users, report
