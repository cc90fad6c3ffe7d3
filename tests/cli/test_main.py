"""One entry for all commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.main import COMMANDS, main


def usage(*argv: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage("--help") == 0

    shown = capsys.readouterr().out
    assert all(re.search(rf"\n    {command}\s", shown) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(command, "--help") == 0

    assert f"usage: gateway {command} " in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage("--version") == 0

    assert capsys.readouterr().out == f"session-gateway {__version__}\n"


@pytest.mark.parametrize("argv", [(), ("fly",), ("check", "--fast"), ("-c", "x")])
def test_wrong_usage_is_2(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert usage(*argv) == 2

    assert "usage: gateway" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom gateway.cli.main import main\n"
        "try: main(['check', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'aiohttp', 'argon2', 'pydantic', 'redis', 'yaml'} & {*sys.modules}))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    many = "\n".join(f"  - {{path: /a, acces: login, n{n}: 1}}" for n in range(5000))
    (tmp_path / "config.yaml").write_text(f"version: 1\nroutes:\n{many}\n")

    done = subprocess.run(
        f"{sys.executable} -m gateway.cli.main check --json | head -c 1",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == (b"{", b"")
