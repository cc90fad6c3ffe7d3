"""``gateway run``: serve."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


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
        "--workers", type=int, default=1, metavar="N", help="processes; only 1 so far"
    )


def execute(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Exit 0 after a drain, 2 for a bad file, 1 for a bad world."""
    import uvloop

    from gateway.config.load import load_file
    from gateway.errors import ConfigError, GatewayError
    from gateway.server.app import serve

    if args.workers != 1:
        print("gateway run: --workers: only 1 so far", file=sys.stderr)
        return 2
    try:
        config = load_file(args.config, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        uvloop.run(serve(config))
    except (GatewayError, OSError) as error:
        print(f"gateway run: {error}", file=sys.stderr)
        return 1
    return 0
