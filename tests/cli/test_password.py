"""``gateway password``: what goes in, and what comes out."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from gateway.config.users_file import load_users

COMMAND = [sys.executable, "-m", "gateway.cli.main", "password"]


def given(stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(COMMAND, input=stdin, capture_output=True, check=False)


def typed(*lines: str) -> tuple[int, str]:
    """Return exit status and all that a terminal shows."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(COMMAND[0], COMMAND)
    shown = b""
    for line in lines:
        while not shown.endswith((b"Password: ", b"Once more: ")):
            shown += os.read(terminal, 1024)
        os.write(terminal, line.encode() + b"\n")
        shown += b"|"
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


@pytest.mark.parametrize(
    "line", [b"two words\n", b"two words\r\n", b"two words", b"two words\nx\n"]
)
def test_one_line_of_stdin_is_hashed(line: bytes) -> None:
    done = given(line)

    assert (done.returncode, done.stderr) == (0, b"")
    assert PasswordHasher().verify(done.stdout.decode().strip(), "two words")


def test_a_users_file_takes_the_hash() -> None:
    hashed = given(b"x\n").stdout.decode().strip()

    assert load_users(f"users: {{a: {{password: {hashed}}}}}", "users.yaml")["a"]


@pytest.mark.parametrize("stdin", [b"", b"\n", b"x" * 1025, b"\xff\xfe\n"])
def test_what_cannot_be_a_password_is_refused(stdin: bytes) -> None:
    done = given(stdin)

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"gateway password: a password is 1 to 1024 bytes of UTF-8\n"


def test_a_terminal_asks_twice_and_shows_nothing() -> None:
    status, shown = typed("correct horse", "correct horse")

    assert status == 0
    assert "correct horse" not in shown
    assert PasswordHasher().verify(shown.split()[-1], "correct horse")


def test_two_different_passwords_are_refused() -> None:
    status, shown = typed("correct horse", "correct house")

    assert status == 1
    assert "two different passwords" in shown


def test_the_password_is_no_argument(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "hunter2"], capture_output=True, check=False, cwd=tmp_path)

    assert done.returncode == 2
