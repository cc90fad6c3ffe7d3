"""``gateway check``: exit status and what it prints. The messages themselves: ``tests/config``."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.main import main

VALID = """version: 1
upstreams: {app: http://127.0.0.1:3000}
routes:
  - {path: /health, access: public}
  - {path: /app/**, access: login}
"""
EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_valid_file_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.yaml").write_text(VALID)

    assert main(["check"]) == 0
    assert capsys.readouterr() == ("config.yaml: 2 routes, 1 upstream, 0 tests passed\n", "")


def test_every_problem_goes_to_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "g.yaml").write_text(VALID + "sesion: {}\nserver: {workers: 0}\n")

    assert main(["check", "-c", "g.yaml"]) == 2
    assert capsys.readouterr() == (
        "",
        "g.yaml:6:1: sesion: unknown key (did you mean 'session'?)\n"
        "g.yaml:7:19: server.workers: expected a number from 1 to 256, or auto, not 0\n",
    )


def test_problems_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.yaml").write_text(VALID + "sesion: {}\n")

    assert main(["check", "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "problems": [
            {
                "file": "config.yaml",
                "line": 6,
                "column": 1,
                "path": "sesion",
                "message": "unknown key (did you mean 'session'?)",
            }
        ],
        "warnings": [],
        "failed_tests": [],
    }


def test_a_warning_does_not_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.yaml").write_text(VALID + "session: {secret: short}\n")

    assert main(["check"]) == 0
    shown = capsys.readouterr()
    assert shown.err == (
        "warning: config.yaml:6:19: session.secret[0]: "
        "a secret under 32 characters can be guessed\n"
    )
    assert main(["check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert [warning["line"] for warning in answer["warnings"]] == [6]


def test_a_missing_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert capsys.readouterr().err == (
        "config.yaml:1:1: cannot be read: No such file or directory\n"
    )


def test_a_failed_policy_test_is_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.yaml").write_text(
        VALID + "tests:\n  - GET /health as anonymous -> 200\n  - GET /app as anonymous -> 200\n"
    )

    assert main(["check"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("config.yaml:8:")
    assert "GET /app as anonymous -> 200" in shown.err
    assert main(["check", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], len(answer["failed_tests"])) == (False, 1)


def test_the_example_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(EXAMPLE)]) == 0
    assert capsys.readouterr() == (f"{EXAMPLE}: 7 routes, 1 upstream, 11 tests passed\n", "")


def test_a_thousand_routes_take_less_than_a_second(folder: Path) -> None:
    routes = "".join(
        f"  - {{path: '/area{n % 37}/section{n}/{{id}}/**', access: login, any_role: [a, b]}}\n"
        for n in range(1000)
    )
    (folder / "config.yaml").write_text(VALID + routes)
    command = [sys.executable, "-m", "gateway.cli.main", "check"]

    def seconds() -> float:
        # CPU time, for the clock on the wall also measures what else this machine does.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 1.0
