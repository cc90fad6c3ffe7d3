"""What a valid ``session.accept`` means."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.accepted import Accepted, Kind
from gateway.config.load import load
from gateway.rules.adapter_tables import SCHEMAS, Tables
from gateway.rules.foreign import CLAIMS, OBJECT, Paths, Trust

SECRET = "s3cr3t-of-the-app-0123456789abcdefgh"
OLD = "s3cr3t-of-before-0123456789abcdefghi"


def accepted(entry: str, *, more: str = "", **env: str) -> Accepted:
    text = f"version: 1\nsession: {{accept: [{{{entry}}}]}}\n{more or UPSTREAM}"
    config = load(text, "config.yaml", env)
    [source] = config.session.accept
    return source


UPSTREAM = "upstreams: {app: http://127.0.0.1:3000}\n"
TWO = "upstreams: {app: http://127.0.0.1:3000, api: http://127.0.0.1:3001}\n"


def test_the_least_that_can_be_written() -> None:
    assert accepted(f"type: nextauth, secret: {SECRET}") == Accepted(
        kind=Kind.NEXTAUTH,
        cookies=("__Secure-next-auth.session-token", "next-auth.session-token"),
        paths=CLAIMS,
        trust=Trust(provider="nextauth"),
        forward_to=frozenset({"app"}),
        secrets=(SECRET,),
    )


@pytest.mark.parametrize(
    ("entry", "cookies"),
    [
        pytest.param(
            f"type: authjs, secret: {SECRET}",
            ("__Secure-authjs.session-token", "authjs.session-token"),
            id="authjs",
        ),
        pytest.param(
            "type: nextauth-database, store: 'sqlite:///app.db'",
            (
                "__Secure-next-auth.session-token",
                "next-auth.session-token",
                "__Secure-authjs.session-token",
                "authjs.session-token",
            ),
            id="of either version",
        ),
        pytest.param(
            f"type: express-session, secret: {SECRET}, store: 'redis://localhost'",
            ("connect.sid",),
            id="express",
        ),
        pytest.param("type: next-session, store: 'redis://localhost'", ("sid",), id="next-session"),
        pytest.param(f"type: iron-session, cookie: mine, password: {SECRET}", ("mine",), id="iron"),
        pytest.param(
            f"type: authjs, cookie: __Host-mine, secret: {SECRET}", ("__Host-mine",), id="exact"
        ),
    ],
)
def test_names_of_cookies(entry: str, cookies: tuple[str, ...]) -> None:
    assert accepted(entry).cookies == cookies


def test_everything_that_can_be_said_of_users() -> None:
    source = accepted(
        f"name: shop, type: authjs, secret: [{SECRET}, {OLD}], user: account, roles: rights.roles, "
        "id_prefix: 'shop:', allowed_roles: [reader], forward_to: [api], touch: gateway, "
        "max_age: 7d, update_age: 1h",
        more=TWO,
    )
    assert source.name == "shop"
    assert source.secrets == (SECRET, OLD)
    assert source.paths == Paths(
        user=("account",), id_keys=OBJECT.id_keys, roles=("rights.roles",), roles_beside=False
    )
    assert source.trust == Trust(
        provider="shop", id_prefix="shop:", allowed_roles=frozenset({"reader"})
    )
    assert source.forward_to == {"api"}
    assert (source.touches, source.max_age, source.update_age) == (True, 7 * 86400.0, 3600.0)


@pytest.mark.parametrize(
    ("entry", "passwords"),
    [
        pytest.param(f"password: {SECRET}", {"1": SECRET}, id="one is number 1, as in the package"),
        pytest.param(f"password: {{2: {SECRET}, 1: {OLD}}}", {"2": SECRET, "1": OLD}, id="several"),
        pytest.param("password: {file: secret}", {"1": "whispered"}, id="a file"),
        pytest.param("password: {1: {file: secret}}", {"1": "whispered"}, id="files"),
        pytest.param("password: ${PASSWORD}", {"1": SECRET}, id="the environment"),
    ],
)
def test_passwords(
    entry: str, passwords: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("whispered\n")
    source = accepted(
        f"type: iron-session, cookie: c, version: 8, touch: app, {entry}", PASSWORD=SECRET
    )
    assert (source.passwords, source.version) == (passwords, 8)


def usual(schema: str) -> Tables:
    """Where nothing is said of roles, a column of that name is read if there is one."""
    return replace(SCHEMAS[schema], maybe=("roles",))


@pytest.mark.parametrize(
    ("entry", "tables"),
    [
        pytest.param("store: 'sqlite:///app.db'", usual("drizzle"), id="SQLite"),
        pytest.param("store: 'sqlite:///app.db', schema: prisma", usual("prisma"), id="prisma"),
        pytest.param("store: 'postgresql://u@h/d', schema: pg", usual("pg"), id="pg"),
        pytest.param(
            "store: 'postgresql://u@h/d', schema: prisma, tables: {session: s, user: u}, "
            "columns: {session_token: t, user_id: i, expires: e, id: d, name: n, email: m, "
            "image: p}, roles: user.role, permissions: user.rights.all",
            Tables(
                sessions="s", users="u", token="t", user_id="i", expires="e", id="d", name="n",
                email="m", image="p", more=("role", "rights"),
            ),
            id="all names one's own",
        ),
        pytest.param("store: 'redis://localhost', prefix: 'app:'", None, id="Upstash"),
    ],
)  # fmt: skip
def test_tables(entry: str, tables: Tables | None) -> None:
    assert accepted(f"type: nextauth-database, {entry}").tables == tables


def test_a_source_without_prefix_keeps_off_the_prefixes_of_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(__file__).parent / "files")
    text = f"""\
version: 1
session:
  accept:
    - {{type: nextauth, secret: {SECRET}, id_prefix: ""}}
    - {{type: authjs, secret: {SECRET}, id_prefix: "b:"}}
login: {{providers: [{{id: local, type: users, file: users.yaml, id_prefix: "l:"}}]}}
{UPSTREAM}"""
    config = load(text, "config.yaml", {})
    first, second = config.session.accept
    assert set(first.trust.reserved) == {"b:", "l:"}
    assert second.trust.reserved == ()
    [provider] = config.login.providers
    assert (provider.id_prefix, provider.reserved) == ("l:", ())


def test_no_secret_is_shown_and_workers_get_all_of_it() -> None:
    source = accepted(f"type: express-session, secret: {SECRET}, store: 'redis://:{OLD}@localhost'")
    assert SECRET not in repr(source)
    assert OLD not in repr(source)
    assert pickle.loads(pickle.dumps(source)) == source
