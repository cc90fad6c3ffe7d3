"""Text -> ``Config``, or every problem at its line.

Nothing is started and nothing changed, so that ``gateway check`` is as strict as ``gateway run``.
Files that the configuration names are read: secrets, users files, certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.config.build.accept import Around, build_accept
from gateway.config.build.accept_apart import Unprefixed
from gateway.config.build.callbacks import build_callbacks
from gateway.config.build.identity import build_identity
from gateway.config.build.login import build_login
from gateway.config.build.roles import build_roles
from gateway.config.build.routes import Surroundings, build_routes, usual_upstream
from gateway.config.build.server import build_server, check_workers
from gateway.config.build.session import build_session, forwarded_to
from gateway.config.build.tests import build_tests
from gateway.config.build.upstreams import build_upstreams
from gateway.config.config import Config
from gateway.config.report import Report
from gateway.config.secrets import read_secrets
from gateway.config.sections import read_sections
from gateway.config.source import read_source
from gateway.config.textfile import read_text
from gateway.errors import ConfigError, Problem
from gateway.rules import csrf


def load(text: str, file: str, env: Mapping[str, str]) -> Config:
    """Return what a configuration means.

    Args:
        file: Its name for messages; relative paths in it start from that file's folder.
        env: What ``${NAME}`` is looked up in.

    Raises:
        ConfigError: With every problem that there is.
    """
    source = read_source(text, file, env)
    report = Report(source)
    folder = Path(file).parent
    read_secrets(source.data, folder, report)
    sections = read_sections(source.data, report)

    server = build_server(sections.server, folder, report)
    session = build_session(sections.session, server.public_url, folder, report)
    check_workers(server, session.store, report)
    roles = build_roles(sections.roles, report)
    login = build_login(
        sections.login,
        sections.providers,
        base_path=server.base_path,
        roles=roles,
        folder=folder,
        prefixes=tuple(filter(None, (source.id_prefix for _, source in sections.accept))),
        report=report,
    )
    callbacks = build_callbacks(sections.callbacks, folder, report)
    headers = build_identity(sections.identity, report)
    upstreams = build_upstreams(sections.upstreams, folder, report)
    accept = build_accept(
        sections.accept,
        Around(
            upstreams=tuple(sections.upstreams),
            upstream=usual_upstream(sections.defaults, tuple(sections.upstreams)),
            own_cookies=(csrf.cookie_shape(server.public_url).name, session.cookie.name),
            providers=sections.providers,
            folder=folder,
        ),
        report,
    )
    names = tuple(sections.upstreams)
    usual = usual_upstream(sections.defaults, names)
    carried = forwarded_to(sections.session, names, usual, report)
    table = build_routes(
        sections.routes,
        sections.defaults,
        Surroundings(
            upstreams=tuple(sections.upstreams),
            roles=roles,
            own_paths={"server.base_path": server.base_path, "login.path": login.path},
            identity_headers=tuple(headers),
            stale_for=session.stale_for,
            cache=session.cache,
            sources=tuple(source.name for source in accept),
            unprefixed=Unprefixed(
                accepted=tuple(one.name for one in accept if not one.trust.id_prefix),
                providers=tuple(one.id for one in login.providers if not one.id_prefix),
            ),
        ),
        report,
    )
    tests = build_tests(sections.tests, report)
    report.raise_problems()
    assert table is not None  # noqa: S101  it is None only beside a problem
    return Config(
        file=file,
        server=server,
        session=replace(session, accept=accept, forward_to=carried),
        identity_headers=headers,
        login=login,
        roles=roles,
        callbacks=callbacks,
        upstreams=upstreams,
        table=table,
        tests=tests,
        warnings=report.warnings,
    )


def load_file(path: Path, env: Mapping[str, str]) -> Config:
    """Read a file and ``load`` it.

    Raises:
        ConfigError: It cannot be read, or has problems.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "this is no file's name"
        raise ConfigError([Problem(str(path), 1, 1, "", f"cannot be read: {why}")]) from error
    return load(text, str(path), env)
