"""``gateway check``: is this configuration right, and does it decide as its tests say?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config.config import Config
    from gateway.errors import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = (
        "Exit status: 0 if all is well, 1 if a policy test failed, 2 for an invalid file."
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(args: argparse.Namespace) -> int:
    """Validate without starting anything. Exit 0; 1 if a policy test failed; 2 if invalid."""
    from gateway.config.load import load_file
    from gateway.errors import ConfigError

    try:
        config = load_file(args.config, os.environ)
    except ConfigError as error:
        _tell(args, problems=error.problems)
        return 2
    failed = _failed_tests(config)
    _tell(args, warnings=config.warnings, failed=failed)
    if failed:
        return 1
    if not args.json:
        counts = (
            _count(len(config.table.routes), "route"),
            _count(len(config.upstreams), "upstream"),
            _count(len(config.tests), "test") + " passed",
        )
        print(f"{args.config}: {', '.join(counts)}")
    return 0


def _failed_tests(config: Config) -> list[str]:
    if not config.tests:
        return []
    from gateway.server.explain import failed_tests

    return failed_tests(config)


def _tell(
    args: argparse.Namespace,
    *,
    problems: Iterable[Problem] = (),
    warnings: Iterable[Problem] = (),
    failed: Iterable[str] = (),
) -> None:
    if args.json:
        answer = {
            "ok": not problems and not failed,
            "problems": [asdict(problem) for problem in problems],
            "warnings": [asdict(warning) for warning in warnings],
            "failed_tests": list(failed),
        }
        print(json.dumps(answer, indent=2))
        return
    for problem in problems:
        print(problem, file=sys.stderr)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for line in failed:
        print(line, file=sys.stderr)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
