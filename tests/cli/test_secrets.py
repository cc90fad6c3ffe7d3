"""``gateway secrets``: which secrets are still needed, and until when."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port

OLD, NEW = "an old secret of 32 characters!!", "a new secret of 32 characters!!!"
OTHER = "another secret of 32 characters!"
CONFIG = """\
version: 1
session: {secret: SECRETS, max_age: 10d, MORE}
upstreams: {app: "http://127.0.0.1:3000"}
routes:
  - {path: /app/**, access: login}
"""
STORE = "store: sqlite:///sessions.db"
DAY = 86400.0


class Folder:
    """A configuration that changes, and the commands on it."""

    def __init__(self, path: Path) -> None:
        self.config = path / "config.yaml"

    def write(self, *secrets: str, more: str = STORE) -> None:
        text = CONFIG.replace("SECRETS", json.dumps(list(secrets))).replace("MORE", more)
        self.config.write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-c", "from gateway.cli.main import main; raise SystemExit(main())"]
        return subprocess.run(
            [*call, *words, "-c", str(self.config)],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def secrets(self) -> Any:
        done = self.run("secrets", "--json")
        assert done.returncode == 0, done.stderr
        assert not any(secret in done.stdout + done.stderr for secret in (OLD, NEW, OTHER))
        return json.loads(done.stdout)

    def create(self, user: str = "ada") -> str:
        done = self.run("sessions", "create", "--user", user, "--json")
        assert done.returncode == 0, done.stderr
        made: str = json.loads(done.stdout)["id"]
        return made


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def seconds_from_now(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - time.time()


def counts(answer: Any) -> list[int]:
    return [secret["sessions"] for secret in answer["secrets"]]


@pytest.mark.parametrize("more", [STORE, f"{STORE}, strategy: jwt"])
def test_an_old_secret_can_go_when_nothing_is_sealed_under_it(folder: Folder, more: str) -> None:
    folder.write(OLD, more=more)
    before = folder.create()
    folder.write(NEW, OLD, more=more)
    folder.create()
    folder.create("bob")
    answer = folder.secrets()
    assert counts(answer) == [2, 1]
    new, old = answer["secrets"]
    assert (new["seals"], new["can_go"], new["needed"]) == (True, None, True)
    assert (old["seals"], old["needed"]) == (False, True)
    assert 9.99 * DAY < seconds_from_now(old["can_go"]) <= 10 * DAY
    assert seconds_from_now(old["last_expires"]) < 0.51 * DAY
    assert new["fingerprint"] != old["fingerprint"]

    assert folder.run("sessions", "revoke", before).returncode == 0
    answer = folder.secrets()
    assert counts(answer) == [2, 0]
    assert answer["secrets"][1]["needed"] is False
    assert seconds_from_now(answer["secrets"][1]["can_go"]) <= 1


def test_a_secret_is_needed_as_long_as_what_it_says_was_ended_may_count(folder: Folder) -> None:
    more = f"{STORE}, strategy: jwt"
    folder.write(OLD, more=more)
    folder.create()
    assert folder.run("sessions", "revoke-user", "ada").returncode == 0
    folder.write(NEW, OLD, more=more)
    answer = folder.secrets()
    assert counts(answer) == [0, 0]
    old = answer["secrets"][1]
    assert old["needed"] is True
    assert 9.99 * DAY < seconds_from_now(old["can_go"]) <= 10 * DAY


def test_what_is_not_sealed_or_cannot_be_read_is_counted_as_well(folder: Folder) -> None:
    folder.write(OTHER)
    folder.create()
    folder.write(NEW, more=f"{STORE}, encrypt: false")
    folder.create()
    answer = folder.secrets()
    assert (answer["not_sealed"], answer["unreadable"]) == (1, 1)
    shown = folder.run("secrets")
    assert "1 not sealed" in shown.stdout
    assert "1 that cannot be read: under a secret that is not listed?" in shown.stdout


def test_without_a_store_nobody_knows_but_max_age_is_enough(folder: Folder) -> None:
    folder.write(NEW, OLD, more="strategy: jwt")
    old = folder.secrets()["secrets"][1]
    assert (old["sessions"], old["needed"]) == (None, True)
    assert 9.99 * DAY < seconds_from_now(old["can_go"]) <= 10.01 * DAY
    assert "A cookie under an old secret is sealed under the first" in folder.run("secrets").stdout


def test_people_read_a_table(folder: Folder) -> None:
    folder.write(NEW, OLD)
    folder.create()
    lines = folder.run("secrets").stdout.splitlines()
    assert lines[0].split() == [
        "FINGERPRINT",
        "SESSIONS",
        "LAST",
        "EXPIRES",
        "CAN",
        "GO",
        "AT",
        "THE",
        "LATEST",
    ]
    assert lines[1].endswith("no: it seals what is new")
    assert lines[2].endswith("  now")
    assert len(lines) == 3


def test_no_secret_seals_nothing(folder: Folder) -> None:
    folder.config.write_text("version: 1\nupstreams: {app: http://127.0.0.1:3000}\n")
    done = folder.run("secrets")
    assert (done.returncode, done.stdout) == (
        0,
        "There is no session.secret: nothing is sealed.\n",
    )


def test_a_store_that_is_out_is_1_and_a_bad_file_2(folder: Folder) -> None:
    folder.write(NEW, more=f'store: "redis://127.0.0.1:{free_port()}/0"')
    done = folder.run("secrets", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gateway secrets: ")
    folder.config.write_text("version: 2\n")
    assert folder.run("secrets").returncode == 2
