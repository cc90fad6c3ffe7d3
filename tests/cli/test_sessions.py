from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.formats.token import key_of
from gateway.model import ANONYMOUS, SessionKey
from gateway.rules.identity import isoformat
from gateway.stores.opening import open_store
from tests.servers import RedisServer, free_port
from tests.stores.contract import ADA, Clock, a_session

CONFIG = """\
version: 1
server: {{listen: 127.0.0.1:8080, public_url: "http://localhost:8080"}}
session: {{store: "{store}", max_age: 30d, idle_timeout: 12h}}
upstreams: {{app: "http://127.0.0.1:3000"}}
defaults: {{access: deny, upstream: app}}
routes:
  - {{path: /app/**, access: login}}
"""


class Gateway:
    """The command line, on a store of its own."""

    def __init__(self, folder: Path, store: str) -> None:
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.format(store=store))
        self.store = store.replace("sqlite:///", f"sqlite:///{folder}/")

    def sessions(self, *words: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-c", "from gateway.cli.main import main; raise SystemExit(main())"]
        return subprocess.run(
            [*call, "sessions", *words, "-c", str(self.config)],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def json(self, *words: str) -> Any:
        done = self.sessions(*words, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Gateway:
    if request.param == "sqlite":
        return Gateway(tmp_path, "sqlite:///sessions.db")
    server: RedisServer = request.getfixturevalue("redis")
    server.command("FLUSHALL")
    return Gateway(tmp_path, server.url)


async def test_a_created_session_is_what_its_cookie_opens(gateway: Gateway) -> None:
    words = ("--user", "ada", "--name", "Ada Ł", "--email", "a@example.com")
    made = gateway.json("create", *words, "--role", "admin", "--role", "the boss")
    assert set(made) == {"id", "cookie", "expires"}
    name, _, token = made["cookie"].partition("=")
    assert name == "gateway_session"
    key = key_of(token)
    assert key is not None
    store = open_store(gateway.store, timeout=1.0)
    await store.open()
    [session] = await store.load([key])
    await store.close()
    assert session is not None
    assert session.id == made["id"]
    assert session.user == replace(
        ADA,
        provider="local",
        name="Ada Ł",
        email="a@example.com",
        image=None,
        roles=("admin", "the boss"),
        permissions=(),
    )
    expires = datetime.fromisoformat(made["expires"])
    assert made["expires"].endswith("Z")
    assert expires.timestamp() - time.time() == pytest.approx(12 * 3600, abs=60)


async def test_sessions_are_listed_shown_and_revoked(gateway: Gateway) -> None:
    one = gateway.json("create", "--user", "ada", "--role", "admin")
    two = gateway.json("create", "--user", "grace")
    assert {s["id"]: s["user"] for s in gateway.json("list")} == {
        one["id"]: "ada",
        two["id"]: "grace",
    }
    shown = gateway.json("show", one["id"])
    assert (shown["user"], shown["roles"], shown["name"]) == ("ada", ["admin"], None)
    text = gateway.sessions("show", one["id"]).stdout
    assert "user:        ada\n" in text
    assert one["cookie"].partition("=")[2] not in text
    done = gateway.sessions("revoke", one["id"])
    assert (done.returncode, done.stdout) == (0, f"revoked {one['id']}\n")
    assert [s["id"] for s in gateway.json("list")] == [two["id"]]


async def test_all_of_a_user_are_revoked_and_nobody_elses(gateway: Gateway) -> None:
    for user in ("ada", "ada", "ada", "grace"):
        gateway.json("create", "--user", user)
    assert gateway.json("revoke-user", "ada") == {"revoked": 3}
    assert [s["user"] for s in gateway.json("list")] == ["grace"]
    done = gateway.sessions("revoke-user", "ada")
    assert (done.returncode, done.stdout) == (0, "revoked 0 sessions of ada\n")


async def test_all_but_one_of_a_users_sessions_are_revoked(gateway: Gateway) -> None:
    made = [gateway.json("create", "--user", user) for user in ("ada", "ada", "grace")]
    stays = made[1]["id"]
    assert gateway.json("revoke-user", "ada", "--except", stays) == {"revoked": 1}
    assert {s["id"] for s in gateway.json("list")} == {stays, made[2]["id"]}
    done = gateway.sessions("revoke-user", "ada", "--except", made[2]["id"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "no live session of ada has the id" in done.stderr
    assert len(gateway.json("list")) == 2


async def test_one_users_sessions_are_listed_with_device_and_address(gateway: Gateway) -> None:
    gateway.json("create", "--user", "grace")
    store = open_store(gateway.store, timeout=1.0)
    await store.open()
    session = a_session(now=Clock().now)
    visitor = a_session(ANONYMOUS, now=Clock().now)
    await store.create(session)
    await store.create(visitor)
    await store.close()
    [listed] = gateway.json("list", "--user", "ada")
    assert listed == {
        "id": session.id,
        "user": "ada",
        "provider": "corp",
        "name": ADA.name,
        "email": ADA.email,
        "roles": list(ADA.roles),
        "permissions": list(ADA.permissions),
        "device": "Mozilla/5.0 (X11; Linux x86_64)",
        "address": "2001:db8::1",
        "created": isoformat(session.created_at),
        "touched": isoformat(session.touched_at),
        "expires": isoformat(session.expires_at),
        "ends": isoformat(session.ends_at),
    }
    row = gateway.sessions("list", "--user", "ada").stdout.splitlines()[1]
    assert "2001:db8::1" in row
    assert row.endswith("Mozilla/5.0 (X11; Linux x86_64)")
    assert gateway.json("show", visitor.id)["user"] is None
    assert visitor.id in gateway.sessions("list").stdout


async def test_a_users_roles_are_changed_in_all_live_sessions(gateway: Gateway) -> None:
    made = [gateway.json("create", "--user", "ada", "--role", "admin") for _ in range(2)]
    other = gateway.json("create", "--user", "grace", "--role", "admin")
    changed = gateway.json("set-roles", "ada", "--role", "viewer", "--role", "the boss")
    assert changed["changed"] == 2
    listed = {s["id"]: s["roles"] for s in gateway.json("list")}
    assert listed == {
        **{key: ["viewer", "the boss"] for key in changed["ids"]},
        other["id"]: ["admin"],
    }
    assert not {one["id"] for one in made} & set(listed)
    done = gateway.sessions("set-roles", "ada")
    assert (done.returncode, done.stdout) == (0, "changed 2 sessions of ada\n")
    assert [s["roles"] for s in gateway.json("list", "--user", "ada")] == [[], []]
    assert gateway.sessions("set-roles", "ada", "--role", "a,b").returncode == 2


async def test_what_is_sealed_is_read_with_the_secret_alone(on_sqlite: Gateway) -> None:
    plain = on_sqlite.config.read_text()
    on_sqlite.config.write_text(
        plain.replace("max_age: 30d", "max_age: 30d, secret: " + "a secret of 32 characters or so!")
    )
    made = on_sqlite.json("create", "--user", "ada")
    assert [s["id"] for s in on_sqlite.json("list")] == [made["id"]]
    on_sqlite.config.write_text(plain)
    done = on_sqlite.sessions("list", "--json")
    assert json.loads(done.stdout) == []
    assert "session.secret is needed" in done.stderr


async def test_an_operators_generator_and_limit_count_for_created_sessions(
    on_sqlite: Gateway,
) -> None:
    on_sqlite.config.with_name("tokens.py").write_text(
        "import secrets\ndef new():\n    return 'app-' + secrets.token_hex(16)\n"
    )
    on_sqlite.config.write_text(
        on_sqlite.config.read_text().replace(
            "max_age: 30d", 'max_age: 30d, max_per_user: 1, token: "tokens.py:new"'
        )
    )
    on_sqlite.json("create", "--user", "ada")
    made = on_sqlite.json("create", "--user", "ada")
    assert made["cookie"].startswith("gateway_session=app-")
    assert [s["id"] for s in on_sqlite.json("list")] == [made["id"]]


async def test_an_empty_store_has_an_empty_list(gateway: Gateway) -> None:
    assert gateway.json("list") == []
    assert gateway.sessions("list").stdout.splitlines() == [
        "ID                      USER                      PROVIDER      SIGNED IN                 "
        "LAST SEEN                 ADDRESS          DEVICE"
    ]


@pytest.mark.parametrize("action", ["show", "revoke"])
@pytest.mark.parametrize("session_id", ["AAAAAAAAAAAAAAAAAAAAAA", "Ł", "\x1b[2J"])
async def test_an_unknown_id_is_said_to_be(gateway: Gateway, action: str, session_id: str) -> None:
    done = gateway.sessions(action, session_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gateway sessions: no live session has the id ")
    assert "\x1b" not in done.stderr


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path, "sqlite:///sessions.db")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="no user"),
        pytest.param(["--user", ""], id="empty user"),
        pytest.param(["--user", " ada"], id="user with a space before it"),
        pytest.param(["--user", "a\nda"], id="user on two lines"),
        pytest.param(["--user", "ada", "--role", "a,b"], id="role with comma"),
        pytest.param(["--user", "ada", "--role", "a|b"], id="role with bar"),
        pytest.param(["--user", "ada", "--role", "a\tb"], id="role with tab"),
        pytest.param(["--user", "ada", "--role", "admin "], id="role with a space behind it"),
        pytest.param(["--user", "ada", "--role", ""], id="empty role"),
        pytest.param(["--user", "ada", "--name", "A\nB"], id="name on two lines"),
        pytest.param(["--user", "ada", "--email", "a\x07"], id="email that rings"),
        pytest.param(["--user", b"\xff".decode(errors="surrogateescape")], id="no UTF-8"),
    ],
)
def test_what_no_header_could_carry_is_refused(on_sqlite: Gateway, words: list[str]) -> None:
    done = on_sqlite.sessions("create", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--" in done.stderr
    assert "Traceback" not in done.stderr
    assert not on_sqlite.config.with_name("sessions.db").exists()


def test_a_user_that_is_no_utf8_is_refused_when_revoked(on_sqlite: Gateway) -> None:
    done = on_sqlite.sessions("revoke-user", b"\xff".decode(errors="surrogateescape"))
    assert done.returncode == 2
    assert "expected UTF-8" in done.stderr


def test_the_store_is_made_private_by_this_command_too(on_sqlite: Gateway) -> None:
    on_sqlite.json("create", "--user", "ada")
    mode = on_sqlite.config.with_name("sessions.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_memory_store_is_out_of_reach(tmp_path: Path) -> None:
    done = Gateway(tmp_path, "memory://").sessions("list")
    assert (done.returncode, done.stdout) == (2, "")
    assert "lives inside the gateway's own process" in done.stderr


def test_a_store_that_does_not_answer_is_said_to(tmp_path: Path) -> None:
    url = f"redis://:open-sesame@127.0.0.1:{free_port()}/0"
    done = Gateway(tmp_path, url).sessions("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gateway sessions: Redis: ")
    assert "open-sesame" not in done.stderr


def test_a_bad_configuration_is_exit_2(on_sqlite: Gateway) -> None:
    on_sqlite.config.write_text("version: 1\nsesion: {}\n")
    done = on_sqlite.sessions("list")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{on_sqlite.config}:2:1" in done.stderr


async def test_a_broken_record_is_logged_beside_the_list_and_not_in_it(
    on_sqlite: Gateway, tmp_path: Path
) -> None:
    store = open_store(on_sqlite.store, timeout=1.0)
    await store.open()
    session = replace(a_session(now=Clock().now), key=SessionKey("f" * 64))
    await store.create(session)
    await store.close()
    db = sqlite3.connect(tmp_path / "sessions.db")
    db.execute("UPDATE sessions SET record = x'00'")
    db.commit()
    db.close()
    done = on_sqlite.sessions("list", "--json")
    assert json.loads(done.stdout) == []
    assert "corrupt_record" in done.stderr


def test_a_url_of_no_store_is_refused_without_repeating_it() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        open_store("mysql://ada:secret@db/x", timeout=1.0)
    assert "secret" not in str(caught.value)
