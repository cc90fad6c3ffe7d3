"""``gateway inspect-cookie``: what it says of each kind of cookie, and what it never says."""

from __future__ import annotations

import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.main import main
from gateway.cli.pasted import parse
from gateway.formats import guess
from tests.formats.foreign_vectors import Vector, load
from tests.formats.test_express import SECRET, SID, signed
from tests.formats.test_iron import ADA, PASSWORD, sealed
from tests.servers import PostgresServer, RedisServer

OWN = "a secret of the gateway's own: 32 characters"
EXPRESS = signed(SID)
UPSTREAM = 'upstreams: {app: "http://127.0.0.1:3000"}\n'


@dataclass(frozen=True)
class Said:
    """What a run has said."""

    status: int
    out: str
    err: str

    @property
    def findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)["findings"]
        return found

    @property
    def only(self) -> dict[str, Any]:
        (finding,) = self.findings
        return finding


class Command:
    """Runs it with something on standard input; neither that nor a secret may come back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, pasted: str, *words: str, secret: str = "") -> Said:
        stdin = io.TextIOWrapper(io.BytesIO(pasted.encode()))
        self._monkeypatch.setattr(sys, "stdin", stdin)
        self._monkeypatch.setenv("COOKIE_SECRET", secret)
        status = main(["inspect-cookie", *words])
        shown = self._capfd.readouterr()
        for hidden in (secret, pasted.strip(), OWN, SECRET, PASSWORD, SID):
            assert not hidden or hidden not in shown.out + shown.err
        return Said(status, shown.out, shown.err)

    def json(self, pasted: str, *words: str, secret: str = "") -> Said:
        return self(pasted, "--json", *words, secret=secret)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capfd)


def first(name: str, title: str = "") -> Vector:
    """Return a valid vector that holds at any time."""
    return next(
        vector
        for vector in load(name)
        if vector["kind"] == "valid" and not vector["freeze_time"] and title in vector["title"]
    )


# --- without a configuration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "title", "form"),
    [
        pytest.param("next-auth-v4-jwt", "", "nextauth", id="next-auth 4"),
        pytest.param("authjs-v5-jwt", "", "authjs", id="Auth.js 5"),
        pytest.param("authjs-v5-jwt", "chunk", "authjs", id="Auth.js 5, in pieces"),
        pytest.param("iron-session-v8", "", "iron-session", id="iron-session 8"),
        pytest.param("iron-session-v9", "", "iron-session", id="iron-session 9"),
        pytest.param("iron-session-v9", "chunked", "iron-session", id="iron-session 9, in pieces"),
    ],
)
def test_a_sealed_cookie_is_opened_with_the_apps_secret(
    command: Command, name: str, title: str, form: str
) -> None:
    vector = first(name, title)
    said = command.json(vector["cookie_header"], secret=vector["secrets"][0])
    found = said.only
    assert said.status == 0
    assert (found["format"], found["verdict"]) == (form, "session")
    expected = vector["expected"]
    assert found["claims"] == expected["claims"] or found["claims"].items() >= (
        expected["session"].items()
    )
    assert found["opened_by"]["of"] == 1
    assert len(found["opened_by"]["fingerprint"]) == 8
    assert found["cookie"] == vector["cookie_name"]


SEAL = sealed(expires=time.time() + 3600)


@pytest.mark.parametrize(
    "pasted",
    [
        pytest.param(SEAL, id="the value"),
        pytest.param(f"{SEAL}\r\n", id="with the end of its line"),
        pytest.param(SEAL.replace("~", "%7E"), id="percent-encoded"),
        pytest.param(f"app={SEAL}", id="name and value"),
        pytest.param(f"theme=dark; app={SEAL}; lang=de", id="among others"),
        pytest.param(f"Cookie: theme=dark; app={SEAL}", id="a whole header"),
        pytest.param(f"Set-Cookie: app={SEAL}; Path=/; HttpOnly", id="as it is set"),
        pytest.param(
            f"set-cookie: app.0={SEAL[:200]}; Secure\nset-cookie: app.1={SEAL[200:]}; Secure\n",
            id="as it is set in pieces",
        ),
    ],
)
def test_a_cookie_may_be_pasted_as_it_is_found(command: Command, pasted: str) -> None:
    said = command.json(pasted, secret=PASSWORD)
    assert said.status == 0
    assert said.only["claims"] == ADA
    assert said.only["user"]["roles"] == ["admin"]


@pytest.mark.parametrize(
    ("pasted", "secret", "verdict", "why"),
    [
        pytest.param(SEAL, "another" * 5, "refused", "bad_mac", id="another password"),
        pytest.param(SEAL[:-9] + "A~2", PASSWORD, "refused", "bad_mac", id="changed"),
        pytest.param(sealed(expires=1e9), PASSWORD, "refused", "expired", id="over"),
        pytest.param(
            sealed(key_id="01", expires=None), PASSWORD, "refused", "unknown_key", id="no number"
        ),
        pytest.param(sealed(expires=1e9), "", "refused", "expired", id="over, known without one"),
        pytest.param(SEAL, "", "unknown", None, id="without a secret"),
        pytest.param(f"a={SEAL}; a={SEAL}", PASSWORD, "refused", "missing", id="twice"),
        pytest.param(f"connect.sid={EXPRESS}", SECRET, "unknown", None, id="a signed id"),
        pytest.param(
            f"connect.sid={EXPRESS}", "x" * 32, "refused", "bad_signature", id="by another"
        ),
        pytest.param(f"connect.sid={SID}", SECRET, "refused", "bad_prefix", id="not signed"),
        pytest.param("sid=V1StGXR8_Z5jdHi6B-myT", "", "unknown", None, id="an opaque id"),
        pytest.param("authjs.session-token=1-2-3", "", "unknown", None, id="a database's token"),
        pytest.param("x" * 42 + "A", "", "unknown", None, id="our own token"),
    ],
)
def test_why_it_is_no_session_or_cannot_be_told(
    command: Command, pasted: str, secret: str, verdict: str, why: str | None
) -> None:
    said = command.json(pasted, secret=secret)
    assert said.status == 1
    assert (said.only["verdict"], said.only["why"]) == (verdict, why)
    assert said.only["detail"]


def test_a_signed_id_says_which_secret_signed_it(command: Command) -> None:
    assert command.json(EXPRESS, secret=SECRET).only["opened_by"]["number"] == 1


@pytest.mark.parametrize("pasted", ["", "\n", "   \n"])
def test_nothing_is_wrong_usage(command: Command, pasted: str) -> None:
    said = command(pasted)
    assert (said.status, said.out) == (2, "")
    assert said.err == "gateway inspect-cookie: there is no cookie to look at\n"


def test_what_looks_like_no_session_may_be_taken_for_one(command: Command) -> None:
    assert command.json("theme=dark", secret=PASSWORD).findings == []
    assert "--format" in command("theme=dark", secret=PASSWORD).out
    taken = command.json("theme=dark", "--format", "iron-session", secret=PASSWORD).only
    assert (taken["format"], taken["why"]) == ("iron-session", "malformed")
    # Of several cookies those of another format are passed over.
    two = f"app={SEAL}; connect.sid={EXPRESS}"
    assert command.json(two, "--format", "iron-session", secret=PASSWORD).only["cookie"] == "app"
    assert len(command.json(two, secret=PASSWORD).findings) == 2


def test_people_are_told_the_same(command: Command) -> None:
    said = command(f"app={SEAL}", secret=PASSWORD)
    lines = said.out.splitlines()
    assert lines[0] == "app: iron-session"
    assert lines[1].startswith("session until 20")
    assert lines[2].startswith("opened by  secret 1, one of 1 (fingerprint ")
    assert "roles      admin" in lines
    assert '    "name": "Ada"' in lines
    refused = command(f"app={SEAL}", secret="x" * 32)
    assert refused.out.splitlines()[1] == (
        "refused: bad_mac: was changed, or is made with another password of that id"
    )


def test_what_a_cookie_holds_does_not_steer_the_terminal(command: Command) -> None:
    evil = sealed({"user": {"id": "\x1b[2Jada", "name": "a\nb"}}, expires=None)
    said = command(evil, secret=PASSWORD)
    assert "\x1b" not in said.out
    assert "session that says no end" in said.out
    assert json.loads(command.json(evil, secret=PASSWORD).out)


@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [SEAL, EXPRESS, "a=", "; ", "\n", "=", "Cookie:", "Set-Cookie:", ".0", "eyJ.."]
            )
        ).map("".join),
    )
)
def test_anything_may_be_pasted(text: str) -> None:
    pasted = parse(text)
    for value in (pasted.value, *pasted.cookies.values()):
        assert guess.of_value(value.decode("latin-1")) in (None, *guess.FORMATS)
    assert pasted.twice <= pasted.cookies.keys()
    assert not (pasted.value and pasted.cookies)


def test_a_cookie_is_no_argument() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect-cookie", SEAL])
    assert caught.value.code == 2


# --- on a terminal -------------------------------------------------------------------------------


def typed(*answers: tuple[bytes, str]) -> tuple[int, str]:
    """Answer prompts; return exit status and all that the terminal shows."""
    words = [sys.executable, "-m", "gateway.cli.main", "inspect-cookie"]
    environment = {name: value for name, value in os.environ.items() if name != "COOKIE_SECRET"}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(words[0], words, environment)
    shown = b""
    for prompt, answer in answers:
        while not shown.endswith(prompt):
            shown += os.read(terminal, 1024)
        text = answer.encode() + b"\n"
        while text:
            text = text[os.write(terminal, text[:1000]) :]
    while True:
        try:
            piece = os.read(terminal, 1024)
        except OSError:  # Linux says so at the end of a terminal
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_a_terminal_asks_for_both_shows_neither_and_takes_a_long_line() -> None:
    long = sealed({**ADA, "cart": ["x" * 100] * 60}, expires=time.time() + 3600)
    assert len(long) > 8000  # a terminal's own lines end at 4095
    status, shown = typed((b"not shown): ", long), (b"go without): ", PASSWORD))
    assert status == 0, shown
    assert "session until" in shown
    assert long[:100] not in shown
    assert PASSWORD not in shown


def test_what_is_rubbed_out_does_not_count() -> None:
    status, shown = typed((b"not shown): ", f"{SEAL}xy\x7f\x08"), (b"go without): ", PASSWORD))
    assert status == 0, shown


def test_without_a_terminal_nobody_is_asked() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COOKIE_SECRET"}
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", "inspect-cookie", "--json"],
        input=SEAL,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        start_new_session=True,  # no terminal behind standard input either
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["findings"][0]["verdict"] == "unknown"


# --- with a configuration: other frameworks ------------------------------------------------------


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def accepting(folder: Path, *sources: str, session: str = "store: memory://") -> tuple[str, str]:
    """Write a configuration; return the words that name it."""
    lines = "".join(f"    - {{{source}, id_prefix: 's{n}:'}}\n" for n, source in enumerate(sources))
    file = folder / "config.yaml"
    accept = f"  accept:\n{lines}" if sources else ""
    own = "".join(f"  {line}\n" for line in session.split(", "))
    file.write_text(f"version: 1\nsession:\n{own}{accept}{UPSTREAM}")
    return "-c", str(file)


IRON = f"type: iron-session, name: shop, cookie: app, password: {{1: {PASSWORD}, 2: {'p' * 32}}}"


def test_a_source_says_who_it_is_and_what_it_may_not_say(command: Command, tmp_path: Path) -> None:
    config = accepting(tmp_path, IRON + ", allowed_roles: [buyer]")
    payload = {"user": {"id": 7, "roles": ["buyer", "admin"]}}
    found = command.json(f"app={sealed(payload, expires=None)}", *config).only
    assert (found["source"], found["verdict"]) == ("shop", "session")
    assert found["user"]["id"] == "s0:7"
    assert found["user"]["roles"] == ["buyer"]
    assert found["dropped"] == ["admin"]
    assert found["opened_by"]["of"] == 2


def test_cookies_are_held_against_the_sources_that_would_look_at_them(
    command: Command, tmp_path: Path
) -> None:
    config = accepting(
        tmp_path,
        IRON,
        f"type: iron-session, name: other, cookie: other, password: {'q' * 32}",
        f"type: nextauth, secret: {'n' * 32}",
        f"type: authjs, secret: {'a' * 32}",
    )

    def sources(pasted: str, *more: str) -> list[str]:
        return [one["source"] for one in command.json(pasted, *config, *more).findings]

    assert sources(f"app={SEAL}; theme=dark") == ["shop"]
    assert sources(f"other.0={SEAL}") == ["other"]
    assert sources(f"unheard={SEAL}") == []
    assert sources(SEAL) == ["shop", "other"]
    assert sources(f"app={SEAL}", "--format", "nextauth") == []
    both = "next-auth.session-token=x; __Secure-authjs.session-token=y"
    assert sources(both) == ["nextauth", "authjs"]
    vector = first("authjs-v5-jwt")
    config = accepting(tmp_path, f"type: authjs, secret: {json.dumps(vector['secrets'][0])}")
    bare = vector["cookie_header"].rpartition("=")[2]
    assert command.json(bare, *config).only["verdict"] == "session"


def express(redis: RedisServer) -> str:
    return f"type: express-session, secret: [newer, {SECRET}], store: {redis.url}, prefix: 'x:'"


@pytest.mark.parametrize(
    ("kept", "verdict", "why"),
    [
        pytest.param('{"cookie":{},"user":{"id":7}}', "session", None, id="there"),
        pytest.param(None, "refused", "no_entry", id="not there"),
        pytest.param("{broken", "refused", "bad_entry", id="not to be read"),
    ],
)
def test_a_store_is_asked(
    command: Command,
    tmp_path: Path,
    redis: RedisServer,
    kept: str | None,
    verdict: str,
    why: str | None,
) -> None:
    key = f"x:{SID}"
    redis.command("DEL", key)
    if kept is not None:
        redis.command("SET", key, kept, "EX", "600")
    config = accepting(tmp_path, express(redis))
    said = command.json(f"connect.sid={EXPRESS}", *config)
    found = said.only
    assert (found["verdict"], found["why"]) == (verdict, why)
    assert found["opened_by"]["number"] == 2
    assert said.status == (0 if verdict == "session" else 1)
    assert said.err == ""
    if kept is not None:
        assert 595 <= int(redis.command("TTL", key)) <= 600, "it was only looked at"
    if verdict == "session":
        assert found["user"]["id"] == "s0:7"
        assert found["claims"]["user"] == {"id": 7}


def test_a_store_that_does_not_answer_leaves_it_open(command: Command, tmp_path: Path) -> None:
    config = accepting(
        tmp_path, f"type: express-session, secret: {SECRET}, store: 'redis://127.0.0.1:1'"
    )
    said = command.json(f"connect.sid={EXPRESS}", *config)
    assert (said.status, said.only["verdict"]) == (1, "unknown")


@pytest.mark.parametrize(
    ("name", "title", "verdict", "why"),
    [
        ("next-auth-db-sql", "plain user [drizzle-sqlite", "session", None),
        ("next-auth-db-sql", "expired 1 s ago [drizzle-sqlite", "refused", "expired"),
        ("next-auth-db-sql", "signed out (row deleted) [drizzle-sqlite", "refused", "no_entry"),
        ("next-auth-db-upstash", "plain user (v4)", "session", None),
        ("next-auth-db-upstash", "expired 1 s ago (v4)", "refused", "expired"),
        ("next-auth-db-upstash", "entry: expires null", "refused", "bad_entry"),
        ("next-auth-db-upstash", "user missing (v4)", "refused", "bad_entry"),
    ],
)
def test_tables_and_keys_of_adapters_are_asked(
    command: Command,
    tmp_path: Path,
    redis: RedisServer,
    name: str,
    title: str,
    verdict: str,
    why: str | None,
) -> None:
    vector = next(one for one in load(name) if one["title"].startswith(title))
    if name == "next-auth-db-sql":
        file = tmp_path / "app.db"
        fill(file, vector)
        store = "store: 'sqlite:///app.db'"
    else:
        redis.command("FLUSHALL")
        for entry in vector["store_entries"]:
            redis.command("SET", entry["key"], entry["value"])
        store = f"store: '{redis.url}'"
    before = vector["store_entries"] and snapshot(tmp_path, redis, vector)
    config = accepting(tmp_path, f"type: nextauth-database, {store}")
    said = command.json(vector["cookie_header"], *config)
    assert (said.only["verdict"], said.only["why"]) == (verdict, why)
    assert said.err == ""
    if verdict == "session":
        assert said.only["user"]["email"] == "ada@example.com"
    assert before == (vector["store_entries"] and snapshot(tmp_path, redis, vector))


def test_a_session_until_the_last_day_of_javascript_is_one(
    command: Command, tmp_path: Path
) -> None:
    vector = next(one for one in load("next-auth-db-sql") if "[drizzle-sqlite" in one["title"])
    fill(tmp_path / "app.db", vector)
    with sqlite3.connect(tmp_path / "app.db") as db:
        db.execute("UPDATE session SET expires = 8640000000000000")
    db.close()
    config = accepting(tmp_path, "type: nextauth-database, store: 'sqlite:///app.db'")
    found = command.json(vector["cookie_header"], *config).only
    assert (found["verdict"], found["expires"]) == ("session", "9999-12-31T23:59:59.000Z")


def test_rows_in_postgresql_are_asked_also_when_they_are_over(
    command: Command, tmp_path: Path, postgres: PostgresServer
) -> None:
    postgres.command(TABLES)
    for token, expires in (("live", "2100-01-01"), ("over", "2020-01-01")):
        postgres.command(f"INSERT INTO sessions VALUES (1, '{expires}Z', '{token}')")
    postgres.command("INSERT INTO users VALUES (1, 'Ada', 'ada@example.com', NULL)")
    config = accepting(
        tmp_path, f"type: nextauth-database, schema: pg, store: '{postgres.url}', cookie: s"
    )
    assert command.json("s=live", *config).only["user"]["name"] == "Ada"
    found = command.json("s=over", *config).only
    assert (found["why"], found["expires"]) == ("expired", "2020-01-01T00:00:00.000Z")
    assert command.json("s=gone", *config).only["why"] == "no_entry"


TABLES = """
CREATE TABLE sessions ("userId" integer, expires timestamptz, "sessionToken" text);
CREATE TABLE users (id integer, name text, email text, image text);
"""


def fill(file: Path, vector: Vector) -> None:
    with sqlite3.connect(file) as db:
        db.execute(
            'CREATE TABLE user (id text PRIMARY KEY, name text, email text, "emailVerified"'
            " integer, image text, role text)"
        )
        db.execute('CREATE TABLE session ("sessionToken" text, "userId" text, expires integer)')
        for entry in vector["store_entries"]:
            names = ", ".join(f'"{name}"' for name in entry["row"])
            marks = ", ".join("?" * len(entry["row"]))
            db.execute(
                f"INSERT INTO {entry['table']} ({names}) VALUES ({marks})",
                tuple(entry["row"].values()),
            )
    db.close()


def snapshot(folder: Path, redis: RedisServer, vector: Vector) -> object:
    if (folder / "app.db").exists():
        db = sqlite3.connect(folder / "app.db")
        rows = db.execute("SELECT * FROM session").fetchall()
        db.close()
        return rows
    return [redis.command("GET", entry["key"]) for entry in vector["store_entries"]]


# --- with a configuration: our own ---------------------------------------------------------------

STORE = "store: sqlite:///sessions.db"
OWN_SECRET = f"secret: {json.dumps(OWN)}"


def signed_in(capfd: pytest.CaptureFixture[str], config: tuple[str, str]) -> dict[str, str]:
    words = ["sessions", "create", "--user", "ada", "--role", "admin", "--json"]
    assert main([*words, *config]) == 0
    made: dict[str, str] = json.loads(capfd.readouterr().out)
    return made


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(STORE, id="server, as plain JSON"),
        pytest.param(f"{STORE}, {OWN_SECRET}", id="server, sealed"),
        pytest.param(f"{STORE}, {OWN_SECRET}, strategy: jwt", id="jwt"),
        pytest.param(f"{STORE}, {OWN_SECRET}, strategy: jwt, format: nextauth", id="nextauth"),
        pytest.param(f"{STORE}, {OWN_SECRET}, strategy: jwt, format: authjs", id="authjs"),
    ],
)
def test_one_of_our_own(
    command: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path, session: str
) -> None:
    config = accepting(tmp_path, session=session)
    made = signed_in(capfd, config)
    for pasted in (made["cookie"], made["cookie"].partition("=")[2]):
        found = command.json(pasted, *config).only
        assert (found["format"], found["verdict"]) == ("gateway", "session")
        assert found["session"]["id"] == made["id"]
        assert found["expires"] == made["expires"]
        assert (found["user"]["id"], found["user"]["roles"]) == ("ada", ["admin"])
        assert (found["opened_by"] is None) == (OWN_SECRET not in session)
    assert main(["sessions", "revoke", made["id"], *config]) == 0
    capfd.readouterr()
    said = command.json(made["cookie"], *config)
    assert said.status == 1
    assert said.only["why"] == ("ended" if "jwt" in session else "no_entry")


@pytest.mark.parametrize(
    ("pasted", "why"),
    [
        pytest.param("gateway_session=garbage", "bad_cookie", id="garbage"),
        pytest.param("gateway_session.1=x", "missing", id="a piece without the first"),
        pytest.param("gateway_session=x; gateway_session=y", "missing", id="twice"),
    ],
)
def test_one_that_is_not_of_ours(command: Command, tmp_path: Path, pasted: str, why: str) -> None:
    config = accepting(tmp_path, session=f"{OWN_SECRET}, strategy: jwt")
    assert command.json(pasted, *config).only["why"] == why


def test_which_of_our_secrets_has_sealed_it(
    command: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = signed_in(capfd, accepting(tmp_path, session=f"{OWN_SECRET}, strategy: jwt"))
    newer = f"secret: [{'n' * 32}, {json.dumps(OWN)}]".replace(", ", ",")
    config = accepting(tmp_path, session=f"{newer}, strategy: jwt")
    by = command.json(made["cookie"], *config).only["opened_by"]
    assert (by["number"], by["of"]) == (2, 2)
    alone = command.json(made["cookie"], secret=OWN).only
    assert (alone["format"], alone["verdict"]) == ("gateway", "session")
    assert alone["opened_by"]["fingerprint"] == by["fingerprint"]
    other = command.json(made["cookie"], secret="x" * 32)
    assert (other.status, other.only["why"]) == (1, "bad_cookie")
    assert command.json(made["cookie"]).only["verdict"] == "unknown"


def test_what_is_in_a_running_gateways_memory_cannot_be_told(
    command: Command, tmp_path: Path
) -> None:
    said = command.json(f"gateway_session={'x' * 42}A", *accepting(tmp_path))
    assert (said.status, said.only["verdict"]) == (1, "unknown")


def test_a_configuration_with_faults_is_said(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 2\n")
    said = command(SEAL, "-c", str(file))
    assert (said.status, said.out) == (2, "")
    assert "config.yaml:1:10" in said.err
