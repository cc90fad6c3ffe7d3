"""``gateway sessions``: look into the configured store and change it, also while it is in use."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config.config import SessionConfig

_PUBLIC_ID = "its public id, as `list` and `create` print it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    common.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "Works on the configured store, also while the gateway runs. Exit status: 0; 1 if there is "
        "no such session or no store; 2 for wrong usage or an invalid file."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name, help=summary, description=f"{summary.capitalize()}.", parents=[common]
        )

    action("list", "all live sessions").add_argument(
        "--user", type=_utf8, metavar="USER", help="only this user's, the newest first"
    )
    action("show", "one session").add_argument("id", metavar="ID", help=_PUBLIC_ID)
    action("revoke", "end one session").add_argument("id", metavar="ID", help=_PUBLIC_ID)
    revoke_user = action("revoke-user", "end all sessions of a user")
    revoke_user.add_argument("user", type=_utf8, metavar="USER", help="the user's id")
    revoke_user.add_argument(
        "--except", dest="spare", metavar="ID", help="the one session that stays"
    )
    set_roles = action("set-roles", "give a user other roles in all live sessions")
    set_roles.add_argument("user", type=_utf8, metavar="USER", help="the user's id")
    set_roles.add_argument(
        "--role",
        type=_checked("role_name"),
        action="append",
        default=[],
        metavar="R",
        help="a role that they have from now on; may be said again; never: they have none",
    )
    create = action("create", "sign somebody in, and print the cookie")
    create.add_argument("--user", type=_checked("user_id"), required=True, metavar="ID", help="who")
    create.add_argument("--name", type=_printable, metavar="N", help="what they are called")
    create.add_argument("--email", type=_printable, metavar="E", help="their email address")
    create.add_argument(
        "--role",
        type=_checked("role_name"),
        action="append",
        default=[],
        metavar="R",
        help="a role of theirs; may be said again",
    )


def execute(args: argparse.Namespace) -> int:
    """Do it. Exit 0; 1 if there is no such session or no store; 2 for a bad configuration."""
    import asyncio

    from gateway.cli.session_actions import fail
    from gateway.config.config import NOWHERE
    from gateway.config.load import load_file
    from gateway.errors import ConfigError, SessionTooLarge, StoreUnavailable
    from gateway.telemetry.logs import configure

    try:
        session = load_file(args.config, os.environ).session
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    unreachable = session.store.startswith("memory:")
    if session.strategy == "jwt" and args.action == "create" and unreachable:
        session = replace(session, store=NOWHERE)
    elif unreachable:
        return fail("a memory:// store lives inside the gateway's own process", status=2)
    if session.store == NOWHERE:
        if args.action != "create":
            return fail(
                "with session.strategy jwt and no session.store, sessions are in browsers' cookies "
                "alone: none can be listed, shown, ended or changed",
                status=2,
            )
        print("gateway sessions: this one cannot be ended before its time", file=sys.stderr)
    writer = configure(sys.stderr)
    try:
        return asyncio.run(_act(args, session))
    except (StoreUnavailable, SessionTooLarge) as error:
        return fail(str(error))
    finally:
        writer.close()


async def _act(args: argparse.Namespace, config: SessionConfig) -> int:
    from gateway.cli.session_actions import act
    from gateway.server.strategies import keeper_of
    from gateway.stores.codec import codec_for
    from gateway.stores.opening import open_store

    codec = codec_for(config.secrets, encrypt=config.encrypt)
    store = open_store(config.store, timeout=config.store_timeout, codec=codec, app=config.tables)
    keeper = keeper_of(config, store)
    try:
        await store.open()
        return await act(args, store, keeper, config.cookie)
    finally:
        await store.close()


def _checked(kind: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        from gateway.config import names

        try:
            checked: str = getattr(names, kind)(_utf8(text))
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return checked

    return check


def _printable(text: str) -> str:
    if not _utf8(text).isprintable():
        raise argparse.ArgumentTypeError("expected a text without control characters")
    return text


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("expected UTF-8") from None
    return text
