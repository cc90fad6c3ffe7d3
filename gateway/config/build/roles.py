"""``roles:``."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.report import Report
from gateway.config.settings import RoleSettings
from gateway.model import RoleGrant
from gateway.rules.roles import RoleFault, RoleTable, compile_roles


def build_roles(settings: Mapping[str, RoleSettings], report: Report) -> RoleTable:
    """Follow inheritance; a faulty step is noted and left out, so that the next one is found."""
    grants = {
        name: RoleGrant(inherits=role.inherits, permissions=role.permissions)
        for name, role in settings.items()
    }
    while True:
        try:
            return compile_roles(grants)
        except RoleFault as fault:
            _note(fault, settings, report)
            grant = grants[fault.role]
            kept = tuple(name for name in grant.inherits if name != fault.inherits)
            grants[fault.role] = RoleGrant(inherits=kept, permissions=grant.permissions)


def _note(fault: RoleFault, settings: Mapping[str, RoleSettings], report: Report) -> None:
    index = settings[fault.role].inherits.index(fault.inherits)
    path = ("roles", fault.role, "inherits", index)
    if fault.inherits not in settings:
        report.error(path, "no role is named %v", *settings)
    else:
        report.error(path, "a role cannot inherit itself" if report.hidden(path) else str(fault))
