"""``gateway inspect-cookie``: what a cookie is, who it names, or exactly why it is refused."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.formats import guess

if TYPE_CHECKING:
    from gateway.cli.findings import Finding
    from gateway.cli.pasted import Pasted
    from gateway.config.accepted import Accepted
    from gateway.config.config import SessionConfig

_BOLD, _GREEN, _YELLOW, _RED = "1", "32", "33", "31"
_COLOURS = {"session": _GREEN, "unknown": _YELLOW, "refused": _RED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; neither cookie nor secret is one, or all could see them."""
    parser.epilog = (
        "Asks for the cookie on a terminal; else reads it from standard input: a value, "
        "name=value, or a whole Cookie header. With -c it is held against session.accept and the "
        "gateway's own sessions, and stores are asked; nothing is changed. Without, the app's "
        "secret is asked for on the terminal, or taken from COOKIE_SECRET. Exit status: 0 if it is "
        "a session, 1 if not or if nobody can say, 2 for wrong usage or an invalid file."
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="a configuration (default: none, only the cookie itself is looked at)",
    )
    parser.add_argument(
        "--format",
        choices=guess.FORMATS,
        metavar="F",
        help=f"take it for this: {', '.join(guess.FORMATS)} (default: what it looks like)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(args: argparse.Namespace) -> int:
    """Say it. Exit 0 if it is a session, 1 if not; 2 for a bad configuration."""
    import asyncio

    from gateway.cli import lone_cookie, pasted
    from gateway.cli.findings import Verdict
    from gateway.config.load import load_file
    from gateway.errors import ConfigError

    config = None
    if args.config is not None:
        try:
            config = load_file(args.config, os.environ).session
        except ConfigError as error:
            print(error, file=sys.stderr)
            return 2
    cookie = pasted.read()
    if not cookie.value and not cookie.cookies:
        print("gateway inspect-cookie: there is no cookie to look at", file=sys.stderr)
        return 2
    if config is None:
        findings = asyncio.run(lone_cookie.inspect(cookie, args.format))
    else:
        findings = asyncio.run(_configured(config, cookie, args.format))
    if args.json:
        print(json.dumps({"findings": [finding.as_json() for finding in findings]}))
    else:
        _print(findings)
    return 0 if any(finding.verdict is Verdict.SESSION for finding in findings) else 1


# --- with a configuration ------------------------------------------------------------------------


async def _configured(config: SessionConfig, pasted: Pasted, wanted: str | None) -> list[Finding]:
    """Say what the cookies are to each source that would look at them, in the gateway's order."""
    from gateway.cli import accepted_cookie, own_cookie
    from gateway.formats.chunks import slots

    findings = []
    named = pasted.cookies
    looks = wanted or guess.of_value(pasted.value.decode("latin-1"))
    own = config.cookie.name
    if wanted in (None, guess.GATEWAY) and (
        any(name in named for name in slots(own))
        or (not named and looks in (None, guess.GATEWAY, config.format))
    ):
        findings.append(await own_cookie.inspect(config, pasted))
    for source in config.accept:
        if wanted not in (None, str(source.kind)):
            continue
        mine = [
            name for name in source.cookies if any(map(accepted_cookie.names(source, name), named))
        ]
        if not named and _may_be(source, looks):
            mine = list(source.cookies)
        found = [
            await accepted_cookie.inspect(source, name, pasted, patience=config.store_timeout)
            for name in mine
        ]
        # A value alone could be of each of its names; only the first that takes it tells anything.
        taken = [finding for finding in found if finding.verdict != "refused"]
        findings += found if named else (taken or found)[:1]
    return findings


def _may_be(source: Accepted, looks: str | None) -> bool:
    if looks in ("express-session", "next-session"):
        return source.kind in ("express-session", "next-session")
    if looks in (None, guess.GATEWAY):  # an opaque id, ours alike
        return bool(source.store)
    return source.kind == looks


# --- for people ----------------------------------------------------------------------------------


def _lines(finding: Finding) -> Iterator[str]:
    whose = f" (source {finding.source})" if finding.source else ""
    yield f"{finding.cookie or 'the value'}: {finding.format}{whose}"
    if finding.verdict == "session":
        until = f"until {finding.expires}" if finding.expires else "that says no end"
        verdict = f"session {until}"
    else:
        verdict = ": ".join(filter(None, (finding.verdict, finding.why)))
    detail = f": {finding.detail}" if finding.detail else ""
    yield verdict + detail
    if finding.verdict != "session" and finding.expires:
        yield f"expires    {finding.expires}"
    by = finding.opened_by
    if by is not None:
        yield f"opened by  secret {by.number}, one of {by.of} (fingerprint {by.fingerprint})"
    for title, value in (finding.user or {}).items():
        if value:
            yield f"{title:9}  {', '.join(value) if isinstance(value, tuple) else value}"
    if finding.dropped:
        yield f"dropped    {', '.join(finding.dropped)}"
    for title, kept in (("session", finding.session), ("claims", finding.claims)):
        if kept:
            yield f"{title}:"
            yield from json.dumps(kept, indent=2, ensure_ascii=False).splitlines()


def _print(findings: list[Finding]) -> None:
    if not findings:
        print("refused: nothing here looks like a session; say with --format whose it should be")
    for number, finding in enumerate(findings):
        if number:
            print()
        first, second, *rest = map(_plain, _lines(finding))
        print(_painted(first, _BOLD), _painted(second, _COLOURS[finding.verdict]), *rest, sep="\n")


def _painted(text: str, colour: str) -> str:
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\x1b[{colour}m{text}\x1b[0m" if coloured else text


def _plain(text: str) -> str:
    # Claims come from elsewhere: what would steer the operator's terminal is shown, not sent.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
