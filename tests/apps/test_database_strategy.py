"""``format: nextauth-database``: an app whose sessions are in its database knows who has signed in
at the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apps.running import App, database
from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import Visitor
from tests.servers import PostgresServer

PASSWORD = "correct horse"
CONFIG = """\
version: 1
server: {listen: "127.0.0.1:${PORT}", admin: "127.0.0.1:${ADMIN_PORT}"}
session:
  format: nextauth-database
  schema: pg
  store: ${DATABASE}
  secret: 0123456789abcdef0123456789abcdef
  max_age: 1h
  idle_timeout: 1h
login:
  providers: [{id: local, type: users, file: users.yaml}]
upstreams: {app: "${UPSTREAM}", other: "${UPSTREAM}"}
defaults: {access: optional, upstream: app}
routes:
  - {path: /admin/**, access: login, role: admin}
  - {path: /other/**, access: optional, upstream: other, strip_prefix: /other}
"""
SQL = Path(__file__).parent.parent / "stores" / "foreign" / "sql" / "pg-adapter.sql"
COOKIE = "next-auth.session-token"


@dataclass(frozen=True)
class Behind:
    """The app, behind its gateway, and where both keep sessions."""

    app: App
    gateway: GatewayProcess
    server: PostgresServer

    def signed_in(self) -> Visitor:
        visitor = Visitor(self.gateway.port)
        assert visitor.sign_in("ada", PASSWORD).status == 303
        return visitor

    def sessions(self) -> list[str]:
        return self.server.command('SELECT "sessionToken" FROM sessions').splitlines()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("gateway")
    hashed = cheap_hash(PASSWORD)
    ada = {"name": "Ada Łovelace", "email": "ada@example.com", "roles": ["admin"]}
    users = {"users": {"ada": {**ada, "password": hashed}}}
    (folder / "users.yaml").write_text(json.dumps(users))
    with PostgresServer("timezone=Asia/Kathmandu") as server:
        server.command(SQL.read_text())
        gateway = GatewayProcess(folder, CONFIG, DATABASE=server.url)
        with database(server.url, gateway.origin) as app:
            gateway.environment["UPSTREAM"] = app.url
            with gateway:
                yield Behind(app, gateway, server)


def me(visitor: Visitor) -> object:
    return visitor.get("/api/me").json()["session"]


def test_the_app_knows_who_has_signed_in_at_the_gateway(behind: Behind) -> None:
    assert me(Visitor(behind.gateway.port)) is None
    visitor = behind.signed_in()
    session = me(visitor)
    assert isinstance(session, dict)
    assert session["user"]["name"] == "Ada Łovelace"
    assert session["user"]["email"] == "ada@example.com"
    assert behind.server.command("SELECT count(*) FROM users") == "1"


def test_the_cookie_holds_the_token_of_the_row_and_only_this_app_gets_it(behind: Behind) -> None:
    visitor = behind.signed_in()
    token = visitor.cookies[COOKIE]
    assert token in behind.sessions()
    assert token in visitor.get("/api/echo").json()["headers"]["cookie"]
    assert "cookie" not in visitor.get("/other/api/echo").json()["headers"]
    assert token not in behind.gateway.output()


def test_roles_count_which_the_app_has_no_column_for(behind: Behind) -> None:
    headers = behind.signed_in().get("/admin/api/echo").json()["headers"]
    assert headers["x-user-roles"] == "admin"


def test_who_signs_out_at_the_gateway_is_signed_out_of_the_app(behind: Behind) -> None:
    visitor = behind.signed_in()
    kept = dict(visitor.cookies)
    visitor.post("/_gateway/auth/signout", {"csrfToken": visitor.form_token()})
    assert kept[COOKIE] not in behind.sessions()
    assert me(Visitor(behind.gateway.port, kept)) is None


def test_who_signs_out_of_the_app_is_signed_out_at_the_gateway_at_once(behind: Behind) -> None:
    visitor = behind.signed_in()
    assert visitor.get("/admin/api/echo").status == 200
    assert visitor.get("/logout").json() == {"ended": True}
    assert visitor.get("/admin/api/echo").status == 302


def test_a_session_that_an_operator_ends_is_over_for_the_app(behind: Behind) -> None:
    visitor = behind.signed_in()
    behind.gateway.sessions("revoke-user", "ada")
    assert behind.sessions() == []
    assert me(visitor) is None


def test_a_session_that_an_operator_makes_is_one_of_the_app(behind: Behind) -> None:
    made = behind.gateway.sessions("create", "--user", "bob", "--email", "bob@example.com")
    name, _, token = made["cookie"].partition("=")
    session = me(Visitor(behind.gateway.port, {name: token}))
    assert isinstance(session, dict)
    assert session["user"]["email"] == "bob@example.com"


def test_the_app_s_own_cookie_does_not_replace_the_gateway_s(behind: Behind) -> None:
    visitor = behind.signed_in()
    token = visitor.cookies[COOKIE]
    page = visitor.get("/api/me")  # getServerSession sets its cookie at each call
    assert COOKIE not in str(page.headers.get_all("Set-Cookie", []))
    assert visitor.cookies[COOKIE] == token
