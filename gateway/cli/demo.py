"""``gateway demo``: a gateway, an application and users, with nothing to set up."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--port", type=int, default=8080, metavar="N", help="default 8080; 0: any that is free"
    )
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="FOLDER",
        help="keep configuration, users and sessions there; default: a temporary folder",
    )


def execute(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Exit 0 then, 1 if the port or the folder cannot be had."""
    import uvloop

    from gateway.errors import GatewayError

    if not 0 <= args.port < 65536:
        print("gateway demo: --port: expected 0 to 65535", file=sys.stderr)
        return 2
    try:
        with _folder(args.dir) as folder:
            uvloop.run(_serve(Path(folder), args.port or _free_port()))
    except (GatewayError, OSError) as error:
        print(f"gateway demo: {error}", file=sys.stderr)
        if args.port and _taken(args.port):
            print("Another program has that port: --port 0 finds a free one.", file=sys.stderr)
        return 1
    return 0


async def _serve(folder: Path, port: int) -> None:
    from gateway.config.load import load_file
    from gateway.demo import config, upstream
    from gateway.server.app import serve

    def ready(_: list[str]) -> None:
        print(_welcome(port, file), flush=True)

    async with upstream.running() as upstream_port:
        file = config.write(folder, port=port, upstream_port=upstream_port)
        await serve(load_file(file, os.environ), ready=ready)


def _welcome(port: int, file: Path) -> str:
    from gateway.demo.config import PASSWORDS

    users = "\n".join(
        f"  {user} / {password}  ({'an admin' if user == 'alice' else 'an ordinary user'})"
        for user, password in PASSWORDS.items()
    )
    return (
        f"\nOpen  http://localhost:{port}/\n\nSign in as\n{users}\n\n"
        f"The configuration is {file}\nCtrl-C stops.\n"
    )


def _folder(kept: Path | None) -> AbstractContextManager[str | Path]:
    from contextlib import nullcontext
    from tempfile import TemporaryDirectory

    # A temporary folder is made for this user alone, and goes when the demo ends.
    return TemporaryDirectory(prefix="gateway-demo-") if kept is None else nullcontext(kept)


def _free_port() -> int:
    import socket

    # The address users open has to be known before the gateway listens there.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _taken(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
