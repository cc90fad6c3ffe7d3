"""``gateway``: one command line for everything.

Each command is a module of its own with ``add_arguments`` and ``execute``; only the one that is
called is imported, and what is heavy only when it is executed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from gateway import __version__

COMMANDS = {
    "run": "serve as the configuration says",
    "demo": "serve a small demo application, with users to sign in as",
    "check": "validate a configuration and run the policy tests in it",
    "explain": "say which route owns a request, what is decided, and why",
    "sessions": "list, show, create, change and revoke sessions in the configured store",
    "secrets": "say which secrets sessions still need, and when an old one can go",
    "inspect-cookie": "say what a session cookie holds, or exactly why it is refused",
    "password": "hash a password for a users file",
}
_INTERRUPTED = 130  # what a shell says of a command that SIGINT ended
_READER_GONE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status. Wrong usage leaves by ``SystemExit(2)``."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = _parser(arguments).parse_args(arguments)
    try:
        status: int = _module(args.command).execute(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; Python would complain once again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="A reverse proxy that keeps the session: checks who is asking, decides by a "
        "YAML policy, and tells the upstream in headers no client can forge.",
    )
    parser.add_argument("--version", action="version", version=f"session-gateway {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        if name == called:
            _module(name).add_arguments(command)
    return parser


def _module(command: str) -> Any:
    return import_module(f"gateway.cli.{command.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main())
