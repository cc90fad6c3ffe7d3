"""``gateway password``: a password's hash, for a users file."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: there are none, or the password would be in the history."""
    parser.epilog = "Asks on a terminal; else reads one line from standard input."


def execute(_args: argparse.Namespace) -> int:
    """Print an argon2id hash. Exit 0; 1 if there was no password to hash."""
    from argon2 import PasswordHasher

    from gateway.login.passwords import LONGEST_PASSWORD, plausible

    try:
        password = _ask() if sys.stdin.isatty() else _line()
    except (EOFError, UnicodeError):
        password = ""
    if password is None:
        print("gateway password: these are two different passwords", file=sys.stderr)
        return 1
    if not plausible(password):
        what = f"a password is 1 to {LONGEST_PASSWORD} bytes of UTF-8"
        print(f"gateway password: {what}", file=sys.stderr)
        return 1
    print(PasswordHasher().hash(password))
    return 0


def _ask() -> str | None:
    """Return the password, or None if it was not repeated alike."""
    from getpass import getpass

    password = getpass("Password: ")
    password.encode()
    return password if getpass("Once more: ") == password else None


def _line() -> str:
    # Not what the locale makes of it: a browser will send UTF-8.
    return sys.stdin.buffer.readline().decode().rstrip("\r\n")
