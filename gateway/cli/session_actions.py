"""What each action of ``gateway sessions`` does, with a store that is open."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.model import CookieShape, Session
    from gateway.stores.keeper import Keeper
    from gateway.stores.protocol import SessionStore


async def act(
    args: argparse.Namespace, store: SessionStore, keeper: Keeper, cookie: CookieShape
) -> int:
    """Do what was asked; return the exit status."""
    match args.action:
        case "list":
            return await _list(args, store, keeper)
        case "show":
            return await _show(args, keeper)
        case "revoke":
            return await _revoke(args, keeper)
        case "revoke-user":
            return await _revoke_user(args, keeper)
        case "set-roles":
            return await _set_roles(args, keeper)
        case _:
            return await _create(args, keeper, cookie)


async def _list(args: argparse.Namespace, store: SessionStore, keeper: Keeper) -> int:
    from gateway.rules.described import described

    sessions = _all(store) if args.user is None else _of_user(keeper, args.user)
    if args.json:
        # One by one: a large store does not fit into one list.
        before = "["
        async for session in sessions:
            print(before, _json(described(session)), sep="\n", end="")
            before = ","
        print("[]" if before == "[" else "\n]")
        return 0
    print(
        f"{'ID':22}  {'USER':24}  {'PROVIDER':12}  {'SIGNED IN':24}  {'LAST SEEN':24}"
        f"  {'ADDRESS':15}  DEVICE"
    )
    async for session in sessions:
        seen = described(session)
        user, address = _plain(seen["user"] or "-"), _plain(seen["address"] or "-")
        print(
            f"{session.id:22}  {user:24}  {_plain(seen['provider'] or '-'):12}"
            f"  {seen['created']:24}  {seen['touched']:24}"
            f"  {address:15}  {_plain(seen['device'] or '-')}"
        )
    return 0


async def _all(store: SessionStore) -> AsyncIterator[Session]:
    from gateway.rules.not_before import is_record

    async for session in store.all():
        if not is_record(session):
            yield session


async def _of_user(keeper: Keeper, user_id: str) -> AsyncIterator[Session]:
    for session in await keeper.of_user(user_id):
        yield session


async def _show(args: argparse.Namespace, keeper: Keeper) -> int:
    from gateway.rules.described import described

    session = await _find(keeper, args.id)
    if session is None:
        return _unknown(args.id)
    if args.json:
        print(_json(described(session)))
        return 0
    for name, value in described(session).items():
        text = ", ".join(value) if isinstance(value, list | tuple) else value
        print(f"{name + ':':12} {_plain(text or '-')}")
    return 0


async def _revoke(args: argparse.Namespace, keeper: Keeper) -> int:
    session = await _find(keeper, args.id)
    if session is None or await keeper.revoke(session.id) is None:
        return _unknown(args.id)
    print(_json({"revoked": 1}) if args.json else f"revoked {session.id}")
    return 0


async def _revoke_user(args: argparse.Namespace, keeper: Keeper) -> int:
    spared = None
    if args.spare is not None:
        # A slip of the pen must not end the very session that was to stay.
        spared = await _find(keeper, args.spare)
        if spared is None or spared.user.id != args.user:
            return _unknown(args.spare, f" of {_plain(args.user)}")
    revoked = await keeper.revoke_user(args.user, spare=None if spared is None else spared.id)
    text = f"revoked {_counted(revoked)} of {_plain(args.user)}"
    print(_json({"revoked": revoked}) if args.json else text)
    return 0


async def _set_roles(args: argparse.Namespace, keeper: Keeper) -> int:
    changed = await keeper.set_roles(args.user, tuple(dict.fromkeys(args.role)))
    text = f"changed {_counted(len(changed))} of {_plain(args.user)}"
    ids = [session.id for session in changed]
    print(_json({"changed": len(changed), "ids": ids}) if args.json else text)
    return 0


async def _create(args: argparse.Namespace, keeper: Keeper, cookie: CookieShape) -> int:
    from gateway.formats.chunks import split
    from gateway.model import User
    from gateway.rules.identity import isoformat
    from gateway.stores.begun import Visit

    roles = tuple(dict.fromkeys(args.role))
    user = User(id=args.user, name=args.name, email=args.email, roles=roles)
    begun = await keeper.begin(user, Visit(device="gateway sessions create"))
    pieces = split(cookie.name, begun.token, cookie.piece) or {}
    made = {
        "id": begun.session.id,
        "cookie": "; ".join(f"{name}={value}" for name, value in pieces.items()),
        "expires": isoformat(begun.session.expires_at),
    }
    if args.json:
        print(_json(made))
    else:
        for name, value in made.items():
            print(f"{name + ':':8} {value}")
    return 0


async def _find(keeper: Keeper, text: str) -> Session | None:
    from gateway.model import SessionId

    # Ids are ASCII; what no encoding can express could not even be asked for.
    return await keeper.find(SessionId(text)) if text.isascii() else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _counted(number: int) -> str:
    return f"{number} {'session' if number == 1 else 'sessions'}"


def _plain(text: str) -> str:
    # Names come from elsewhere: what would steer the operator's terminal is shown, not sent.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _unknown(session_id: str, whose: str = "") -> int:
    return fail(f"no live session{whose} has the id {_plain(session_id)!r}")


def fail(message: str, *, status: int = 1) -> int:
    """Say what is wrong, and return the exit status."""
    print(f"gateway sessions: {message}", file=sys.stderr)
    return status
