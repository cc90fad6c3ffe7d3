"""``gateway secrets``: what each secret still seals, and when an old one can go."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.config.config import SessionConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = (
        "Goes through the whole store. Secrets are shown by fingerprints, which tell nothing of "
        "them. Exit status: 0; 1 if the store cannot be read; 2 for an invalid file."
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
    """Say it. Exit 0; 1 if the store cannot be read; 2 for a bad configuration."""
    import asyncio

    from gateway.config.load import load_file
    from gateway.errors import ConfigError, StoreUnavailable
    from gateway.telemetry.logs import configure

    try:
        session = load_file(args.config, os.environ).session
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    writer = configure(sys.stderr)
    try:
        answer = asyncio.run(_answer(session, time.time()))
    except StoreUnavailable as error:
        print(f"gateway secrets: {error}", file=sys.stderr)
        return 1
    finally:
        writer.close()
    if args.json:
        print(json.dumps(answer))
    else:
        _print(answer)
    return 0


async def _answer(config: SessionConfig, now: float) -> dict[str, Any]:
    from gateway.config.config import NOWHERE
    from gateway.stores.sealing import record_key_id
    from gateway.stores.secret_use import Use

    # What is in memory goes with the process, and what is in cookies nobody can count.
    readable = not config.store.startswith((NOWHERE, "memory:"))
    uses, unreadable = await _uses(config) if readable else ({}, 0)
    secrets = []
    for number, secret in enumerate(config.secrets):
        fingerprint = record_key_id(secret)
        use = uses.pop(fingerprint, Use())
        secrets.append(
            {
                "fingerprint": fingerprint.hex(),
                "seals": number == 0,
                "sessions": use.sessions if readable else None,
                "last_expires": _iso(use.last_expires),
                "can_go": None if number == 0 else _can_go(config, use, now, readable=readable),
                "needed": number == 0 or not readable or use.needed_until > now,
            }
        )
    return {
        "strategy": config.strategy,
        "secrets": secrets,
        "not_sealed": sum(use.sessions for use in uses.values()),
        "unreadable": unreadable,
    }


async def _uses(config: SessionConfig) -> tuple[dict[Any, Any], int]:
    from gateway.stores.codec import codec_for
    from gateway.stores.opening import open_store
    from gateway.stores.secret_use import Counting, count

    codec = Counting(codec_for(config.secrets, encrypt=config.encrypt))
    store = open_store(config.store, timeout=config.store_timeout, codec=codec, app=config.tables)
    try:
        await store.open()
        return await count(store, codec, config.lifetime.max_age), codec.unreadable
    finally:
        await store.close()


def _can_go(config: SessionConfig, use: Any, now: float, *, readable: bool) -> str | None:
    """Return the moment from which nothing needs an old secret any more, at the latest."""
    until: float = use.needed_until
    if config.strategy == "jwt" and not (readable and config.encrypt):
        # When this secret ceased to be the first is written nowhere.
        until = now + config.lifetime.max_age
    return _iso(max(until, now))


def _iso(moment: float) -> str | None:
    from gateway.rules.identity import isoformat

    return isoformat(moment) if moment else None


def _print(answer: dict[str, Any]) -> None:
    if not answer["secrets"]:
        print("There is no session.secret: nothing is sealed.")
        return
    print(f"{'FINGERPRINT':11}  {'SESSIONS':>8}  {'LAST EXPIRES':24}  CAN GO AT THE LATEST")
    for secret in answer["secrets"]:
        sessions = "?" if secret["sessions"] is None else secret["sessions"]
        can_go = secret["can_go"] if secret["needed"] else "now"
        if secret["seals"]:
            can_go = "no: it seals what is new"
        print(
            f"{secret['fingerprint']:11}  {sessions:>8}  {secret['last_expires'] or '-':24}"
            f"  {can_go}"
        )
    if answer["not_sealed"]:
        print(f"{answer['not_sealed']} not sealed")
    if answer["unreadable"]:
        print(f"{answer['unreadable']} that cannot be read: under a secret that is not listed?")
    if answer["strategy"] == "jwt":
        print("A cookie under an old secret is sealed under the first one when it is renewed.")
