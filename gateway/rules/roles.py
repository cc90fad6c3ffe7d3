"""Roles, what they inherit, and the permissions they bring."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from gateway.model import Caller, RoleGrant, User

EVERY_PERMISSION = "*"

_NOT_PLAIN = re.compile(r"[,|\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class RoleTable:
    """The ``roles:`` table with inheritance already followed."""

    roles: Mapping[str, frozenset[str]]
    """Role to itself and all it inherits."""
    permissions: Mapping[str, frozenset[str]]
    """Role to all permissions it brings."""

    def caller(self, user: User) -> Caller:
        """Return the user as policy sees them.

        A role that the table does not know counts as itself and brings nothing. A role or
        permission whose name is not plain counts for nothing at all.
        """
        roles: set[str] = set()
        permissions = set(filter(is_plain_name, user.permissions))
        for role in filter(is_plain_name, user.roles):
            roles |= self.roles.get(role, frozenset((role,)))
            permissions |= self.permissions.get(role, frozenset())
        return Caller(user=user, roles=frozenset(roles), permissions=frozenset(permissions))


class RoleFault(ValueError):
    """An entry of the table that cannot stand; ``role`` names it, ``inherits`` the entry in it."""

    def __init__(self, role: str, inherits: str, message: str) -> None:
        self.role = role
        self.inherits = inherits
        super().__init__(message)


@lru_cache(maxsize=1024)
def is_plain_name(name: str) -> bool:
    """Whether a role or permission can stand in a comma-separated header without being misread.

    Comma and ``|`` separate names in headers that applications read; control characters and
    spaces at the ends are lost on the way.
    """
    return bool(name) and name.strip() == name and not _NOT_PLAIN.search(name)


def compile_roles(grants: Mapping[str, RoleGrant]) -> RoleTable:
    """Follow inheritance.

    Raises:
        RoleFault: A role inherits one that is not in the table, or, in the end, itself.
    """
    reach: dict[str, frozenset[str]] = {}

    def follow(role: str, trail: tuple[str, ...]) -> frozenset[str]:
        if role in reach:
            return reach[role]
        found = {role}
        for parent in grants[role].inherits:
            if parent not in grants:
                raise RoleFault(role, parent, f"no role is named {parent!r}")
            if parent in (*trail, role):
                circle = " -> ".join((*trail, role, parent))
                raise RoleFault(role, parent, f"a role cannot inherit itself: {circle}")
            found |= follow(parent, (*trail, role))
        reach[role] = frozenset(found)
        return reach[role]

    for name in grants:
        follow(name, ())
    return RoleTable(
        roles=reach,
        permissions={
            role: frozenset(p for one in held for p in grants[one].permissions)
            for role, held in reach.items()
        },
    )


def holds(held: frozenset[str], wanted: Iterable[str]) -> bool:
    """Whether all the wanted permissions are among those held; ``*`` is every one."""
    return EVERY_PERMISSION in held or held.issuperset(wanted)


def holds_any(held: frozenset[str], wanted: Iterable[str]) -> bool:
    """Whether one of the wanted permissions is among those held; ``*`` is every one."""
    return EVERY_PERMISSION in held or not held.isdisjoint(wanted)
