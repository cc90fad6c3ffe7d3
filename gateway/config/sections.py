"""Data -> settings, piece by piece, so that one fault does not hide the next.

A piece with a fault is read again without the faulty fields: what is left can still be checked
against the rest of the file. ``Report.sound`` tells such a piece from a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.config.accept_settings import ACCEPTED, AcceptSettings
from gateway.config.kinds import Strict
from gateway.config.names import label, role_name
from gateway.config.report import Report
from gateway.config.route_settings import DefaultsSettings, RouteSettings
from gateway.config.server_settings import ServerSettings
from gateway.config.settings import (
    IdentitySettings,
    LoginSettings,
    ProviderSettings,
    RoleSettings,
    SessionSettings,
    Settings,
)
from gateway.config.source import Path
from gateway.config.upstream_settings import UpstreamSettings

Model = TypeVar("Model", bound=Strict)

_ALIKE = frozenset(AcceptSettings.model_fields)
_PLAIN = ("version", "callbacks")
"""Keys that are no sections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """What could be read of a file. Entries of lists come with their index there."""

    server: ServerSettings
    session: SessionSettings
    accept: tuple[tuple[int, AcceptSettings], ...]
    identity: IdentitySettings
    login: LoginSettings
    providers: tuple[tuple[int, ProviderSettings], ...]
    roles: Mapping[str, RoleSettings]
    callbacks: str | None
    upstreams: Mapping[str, UpstreamSettings | None]
    """None: named, but not readable."""
    defaults: DefaultsSettings
    routes: tuple[tuple[int, RouteSettings], ...]
    tests: tuple[tuple[int, str], ...]


def read_sections(data: dict[str, Any], report: Report) -> Sections:
    """Read every section; what is wrong goes into the report."""
    top = {
        name: value if name in _PLAIN or name not in Settings.model_fields else {}
        for name, value in data.items()
    }
    top |= {name: () for name in ("routes", "tests") if name in data}
    read(Settings, top, (), report)

    login = data.get("login")
    providers: Any = None
    if isinstance(login, dict):
        providers = login.get("providers")
        login = {name: value for name, value in login.items() if name != "providers"}
    session = data.get("session")
    accept: Any = None
    if isinstance(session, dict):
        accept = session.get("accept")
        session = {name: value for name, value in session.items() if name != "accept"}
    return Sections(
        server=_section(ServerSettings, data.get("server"), "server", report),
        session=_section(SessionSettings, session, "session", report),
        accept=_accepted(accept, report),
        identity=_section(IdentitySettings, data.get("identity"), "identity", report),
        login=_section(LoginSettings, login, "login", report),
        providers=_entries(ProviderSettings, providers, ("login", "providers"), report),
        roles={
            name: role or RoleSettings()
            for name, role in named(
                RoleSettings, data.get("roles"), "roles", role_name, report
            ).items()
        },
        callbacks=_text(data.get("callbacks")) if report.sound("callbacks") else None,
        upstreams=named(UpstreamSettings, data.get("upstreams"), "upstreams", label, report),
        defaults=_section(DefaultsSettings, data.get("defaults"), "defaults", report),
        routes=_entries(RouteSettings, data.get("routes"), ("routes",), report),
        tests=_tests(data.get("tests"), report),
    )


def read(model: type[Model], value: object, path: Path, report: Report) -> Model | None:
    """Return what can be read of a value; None if that is nothing."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    report.invalid(errors, model, path)
    rest = deepcopy(value)
    for each in errors:
        _drop(rest, each["loc"])
    try:
        return model.model_validate(rest)
    except ValidationError:
        return None


def _drop(value: object, loc: tuple[str | int, ...]) -> None:
    """Remove the innermost named value on the way to a location."""
    place: tuple[dict[str, Any], str] | None = None
    for part in loc:
        if isinstance(value, dict) and isinstance(part, str) and part in value:
            place = value, part
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    if place is not None:
        place[0].pop(place[1], None)


def _section(model: type[Model], value: object, name: str, report: Report) -> Model:
    return read(model, {} if value is None else value, (name,), report) or model()


def _entries(
    model: type[Model], values: object, path: Path, report: Report
) -> tuple[tuple[int, Model], ...]:
    readable = (
        (index, read(model, value, (*path, index), report))
        for index, value in enumerate(_list(values, path, report))
    )
    return tuple((index, entry) for index, entry in readable if entry is not None)


def _accepted(values: object, report: Report) -> tuple[tuple[int, AcceptSettings], ...]:
    """Read each entry by its type; one of no known type is read as far as all are alike."""
    path = ("session", "accept")
    entries = []
    for index, value in enumerate(_list(values, path, report)):
        kind = value.get("type") if isinstance(value, dict) else None
        model = ACCEPTED.get(kind, AcceptSettings) if isinstance(kind, str) else AcceptSettings
        rest = value
        if model is AcceptSettings and isinstance(value, dict):
            rest = {name: each for name, each in value.items() if name in _ALIKE}
        entry = read(model, rest, (*path, index), report)
        if entry is not None and model is not AcceptSettings:
            entries.append((index, entry))
    return tuple(entries)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _tests(values: object, report: Report) -> tuple[tuple[int, str], ...]:
    tests = []
    for index, value in enumerate(_list(values, ("tests",), report)):
        if isinstance(value, str):
            tests.append((index, value))
        else:
            report.error(("tests", index), "expected text, not %v")
    return tuple(tests)


def _list(values: object, path: Path, report: Report) -> list[Any]:
    if isinstance(values, list):
        return values
    if values is not None:
        report.error(path, "expected a list, not %v")
    return []


def named(
    model: type[Model], values: object, section: str, check: Callable[[str], str], report: Report
) -> dict[str, Model | None]:
    """Read the entries of a mapping whose names the operator chooses, and check the names."""
    if values is not None and not isinstance(values, dict):
        report.error((section,), "expected a mapping, not %v")
    entries: dict[str, Model | None] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        entries[name] = read(model, value, (section, name), report)
        try:
            check(name)
        except ValueError as fault:
            report.error((section, name), f"{fault}, not %v", key=True)
    return entries
