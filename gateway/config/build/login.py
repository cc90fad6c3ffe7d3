"""``login:``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gateway.config.config import LoginConfig, UsersProvider
from gateway.config.report import Report
from gateway.config.settings import LoginSettings, ProviderSettings
from gateway.config.textfile import read_text
from gateway.config.users_file import read_users
from gateway.errors import ConfigError
from gateway.rules.roles import RoleTable


def build_login(
    settings: LoginSettings,
    providers: Iterable[tuple[int, ProviderSettings]],
    *,
    base_path: str,
    roles: RoleTable,
    folder: Path,
    prefixes: tuple[str, ...] = (),
    report: Report,
) -> LoginConfig:
    """Return how users sign in; users files are read, and have to be in order.

    Args:
        prefixes: What ids of users from elsewhere begin with.
    """
    if settings.path == base_path:
        report.error(("login", "path"), "server.base_path is the same; put one below the other")
    built: dict[str, UsersProvider] = {}
    owners: dict[str, str] = {}
    for index, provider in providers:
        path = ("login", "providers", index)
        if provider.id in built:
            report.error((*path, "id"), "another provider has this id")
        built[provider.id] = UsersProvider(
            id=provider.id,
            name=provider.name or provider.id,
            file=folder / provider.file,
            id_prefix=provider.id_prefix or "",
            reserved=() if provider.id_prefix else prefixes,
        )
        if not report.sound(*path, "file"):
            continue
        file = built[provider.id].file
        try:
            users, inner = read_users(read_text(file), str(file), tuple(roles.roles))
        except ConfigError as error:  # no YAML at all
            report.add(error.problems)
            continue
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "this is no file's name"
            report.error((*path, "file"), f"cannot read the users file: {why}")
            continue
        report.add(inner.problems, inner.warnings)
        for user in users:
            # Upstreams are told the id alone: two people must not share one.
            full_id = (provider.id_prefix or "") + user
            if any(map(full_id.startswith, built[provider.id].reserved)):
                message = f"user {user!r} begins as the ids of session.accept do"
                report.error((*path, "file"), message)
            owner = owners.setdefault(full_id, provider.id)
            if owner != provider.id:
                message = f"user {user!r} is in another provider's file, too"
                report.error((*path, "file"), message)
    return LoginConfig(
        path=settings.path or f"{base_path}/auth",
        url=settings.url,
        providers=tuple(built.values()),
    )
