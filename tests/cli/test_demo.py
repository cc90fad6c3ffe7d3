from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.cli.main import main
from gateway.config.load import load_file
from gateway.config.users_file import load_users
from gateway.demo import config
from gateway.login.passwords import Passwords
from tests.servers import wait_for

COMMAND = str(Path(sys.executable).with_name("gateway"))


def test_the_demos_configuration_is_valid_and_decides_as_its_tests_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config.write(tmp_path / "demo", port=8080, upstream_port=9)
    assert load_file(file, {}).warnings == ()
    assert main(["check", "-c", str(file)]) == 0
    assert "7 tests passed" in capsys.readouterr().out


async def test_the_demos_users_have_the_passwords_that_are_printed(tmp_path: Path) -> None:
    config.write(tmp_path, port=8080, upstream_port=9)
    users = load_users((tmp_path / "users.yaml").read_text(), "users.yaml")
    passwords = Passwords()
    assert users.keys() == config.PASSWORDS.keys()
    for name, password in config.PASSWORDS.items():
        assert await passwords.matches(users[name].password_hash, password)
    passwords.close()


def test_what_is_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    config.write(folder, port=8080, upstream_port=9)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("secret", "users.yaml"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_a_kept_folder_keeps_users_and_secret(tmp_path: Path) -> None:
    config.write(tmp_path, port=8080, upstream_port=9)
    secret = (tmp_path / "secret").read_text()
    (tmp_path / "users.yaml").write_text("users: {}\n")
    file = config.write(tmp_path, port=8081, upstream_port=9)
    assert (tmp_path / "secret").read_text() == secret
    assert (tmp_path / "users.yaml").read_text() == "users: {}\n"
    assert "127.0.0.1:8081" in file.read_text()


@contextmanager
def demo(*arguments: str) -> Iterator[str]:
    """Run the command; yield the address that it prints."""
    command = [COMMAND, "demo", *arguments]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

        def address() -> re.Match[str] | None:
            said = os.pread(output.fileno(), 100_000, 0).decode()
            assert process.poll() is None, said
            return re.search(r"^Open  (\S+)/$", said, re.MULTILINE)

        try:
            wait_for(address, seconds=15.0, what="gateway demo prints its address")
            found = address()
            assert found is not None
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(10)
    assert status == 0


def test_once_the_address_is_printed_it_answers(tmp_path: Path) -> None:
    with (
        demo("--port", "0", "--dir", str(tmp_path / "kept")) as url,
        urllib.request.urlopen(f"{url}/_gateway/health", timeout=5) as answer,
    ):
        assert answer.read() == b'{"status": "ok"}'
    # The folder stays, and so do the sessions in it.
    assert (tmp_path / "kept" / "sessions.db").exists()


def test_a_taken_port_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = subprocess.run(
            [COMMAND, "demo", "--port", port],
            check=False,
            capture_output=True,
            text=True,
            timeout=15,
        )
    assert ended.returncode == 1
    assert "Another program has that port: --port 0 finds a free one." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Open" not in ended.stdout


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_wrong_usage(port: str) -> None:
    assert main(["demo", f"--port={port}"]) == 2


def test_a_folder_that_cannot_be_made_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--port", "0", "--dir", str(tmp_path / "file")]) == 1
    assert "gateway demo: " in capsys.readouterr().err
