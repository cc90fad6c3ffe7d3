"""``gateway run``: serve."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gateway.config.config import Config

MOST_WORKERS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = (
        "SIGTERM and SIGINT let requests under way finish, and stop; SIGHUP reads the file again. "
        "Exit status: 0 after a stop, 1 if an address or the store cannot be had, 2 for an invalid "
        "file."
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=None,
        metavar="N",
        help="processes that serve, or auto for one a core (default: server.workers in the file)",
    )


def _workers(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MOST_WORKERS}, or auto")
    return number


def execute(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Exit 0 after a drain, 2 for a bad file, 1 for a bad world."""
    from gateway.config.build.server import NOT_SHARED
    from gateway.config.load import load_file
    from gateway.errors import ConfigError, GatewayError, Problem

    try:
        config = load_file(args.config, os.environ)
        workers = args.workers or config.server.workers
        if workers != 1 and config.session.store == "memory://":
            raise ConfigError([Problem(config.file, 1, 1, "--workers", NOT_SHARED)])
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        _serve(config, workers)
    except (GatewayError, OSError) as error:
        print(f"gateway run: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(config: Config, workers: int | Literal["auto"]) -> None:
    from gateway.server.workers import count_workers

    _allow_many_files()
    count = count_workers(workers)
    if count == 1:
        import uvloop

        from gateway.server.app import serve

        uvloop.run(serve(config))
    else:
        from gateway.server.supervised import serve_with_workers

        serve_with_workers(config, count)


def _allow_many_files() -> None:
    """Take as many descriptors as the system lets us have; the usual 1024 are for ``select``."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
