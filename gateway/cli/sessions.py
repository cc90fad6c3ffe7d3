"""``gateway sessions``: look into the configured store and change it, also while it is in use."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.config.config import SessionConfig
    from gateway.model import Session
    from gateway.stores.protocol import SessionStore

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

    action("list", "all live sessions")
    action("show", "one session").add_argument("id", metavar="ID", help=_PUBLIC_ID)
    action("revoke", "end one session").add_argument("id", metavar="ID", help=_PUBLIC_ID)
    action("revoke-user", "end all sessions of a user").add_argument(
        "user", type=_utf8, metavar="USER", help="the user's id"
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

    from gateway.config.load import load_file
    from gateway.errors import ConfigError, StoreUnavailable
    from gateway.telemetry.logs import configure

    try:
        session = load_file(args.config, os.environ).session
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if session.store.startswith("memory:"):
        return _fail("a memory:// store lives inside the gateway's own process", status=2)
    writer = configure(sys.stderr)
    try:
        return asyncio.run(_act(args, session))
    except StoreUnavailable as error:
        return _fail(str(error))
    finally:
        writer.close()


async def _act(args: argparse.Namespace, config: SessionConfig) -> int:
    from gateway.stores.codec import codec_for
    from gateway.stores.opening import open_store

    codec = codec_for(config.secrets, encrypt=config.encrypt)
    store = open_store(config.store, timeout=config.store_timeout, codec=codec)
    try:
        await store.open()
        match args.action:
            case "list":
                return await _list(store, as_json=args.json)
            case "show":
                return await _show(store, args)
            case "revoke":
                return await _revoke(store, args)
            case "revoke-user":
                return await _revoke_user(store, args)
            case _:
                return await _create(store, args, config)
    finally:
        await store.close()


async def _list(store: SessionStore, *, as_json: bool) -> int:
    if as_json:
        # One by one: a large store does not fit into one list.
        before = "["
        async for session in store.all():
            print(before, _json(_described(session)), sep="\n", end="")
            before = ","
        print("[]" if before == "[" else "\n]")
        return 0
    print(f"{'ID':22}  {'USER':24}  {'SIGNED IN':24}  EXPIRES")
    async for session in store.all():
        seen = _described(session)
        user = _plain(session.user.id)
        print(f"{session.id:22}  {user:24}  {seen['created']:24}  {seen['expires']}")
    return 0


async def _show(store: SessionStore, args: argparse.Namespace) -> int:
    session = await _find(store, args.id)
    if session is None:
        return _unknown(args.id)
    if args.json:
        print(_json(_described(session)))
        return 0
    for name, value in _described(session).items():
        text = ", ".join(value) if isinstance(value, list | tuple) else value
        print(f"{name + ':':12} {_plain(text or '-')}")
    return 0


async def _revoke(store: SessionStore, args: argparse.Namespace) -> int:
    session = await _find(store, args.id)
    if session is None or not await store.delete(session.key):
        return _unknown(args.id)
    print(_json({"revoked": 1}) if args.json else f"revoked {session.id}")
    return 0


async def _revoke_user(store: SessionStore, args: argparse.Namespace) -> int:
    revoked = 0
    for session in await store.of_user(args.user):
        revoked += await store.delete(session.key)
    noun = "session" if revoked == 1 else "sessions"
    text = f"revoked {revoked} {noun} of {_plain(args.user)}"
    print(_json({"revoked": revoked}) if args.json else text)
    return 0


async def _create(store: SessionStore, args: argparse.Namespace, config: SessionConfig) -> int:
    import time

    from gateway.formats.token import ID_BYTES, TOKEN_BYTES, key_for, new_session_id, new_token
    from gateway.model import User
    from gateway.rules.identity import isoformat
    from gateway.rules.sessions import born

    roles = tuple(dict.fromkeys(args.role))
    user = User(id=args.user, name=args.name, email=args.email, roles=roles)
    token = new_token(os.urandom(TOKEN_BYTES))
    session_id = new_session_id(os.urandom(ID_BYTES))
    session = born(user, key_for(token), session_id, config.lifetime, now=time.time())
    await store.create(session)
    made = {
        "id": session.id,
        "cookie": f"{config.cookie.name}={token}",
        "expires": isoformat(session.expires_at),
    }
    if args.json:
        print(_json(made))
    else:
        for name, value in made.items():
            print(f"{name + ':':8} {value}")
    return 0


async def _find(store: SessionStore, text: str) -> Session | None:
    from gateway.model import SessionId

    # Ids are ASCII; what no encoding can express could not even be asked for.
    return await store.find(SessionId(text)) if text.isascii() else None


def _described(session: Session) -> dict[str, Any]:
    from gateway.rules.identity import isoformat

    user = session.user
    return {
        "id": session.id,
        "user": user.id,
        "provider": user.provider,
        "name": user.name,
        "email": user.email,
        "roles": user.roles,
        "permissions": user.permissions,
        "created": isoformat(session.created_at),
        "touched": isoformat(session.touched_at),
        "expires": isoformat(session.expires_at),
        "ends": isoformat(session.ends_at),
    }


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


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    # Names come from elsewhere: what would steer the operator's terminal is shown, not sent.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _unknown(session_id: str) -> int:
    return _fail(f"no live session has the id {_plain(session_id)!r}")


def _fail(message: str, *, status: int = 1) -> int:
    print(f"gateway sessions: {message}", file=sys.stderr)
    return status
