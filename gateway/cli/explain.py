"""``gateway explain``: which route owns a request, what is decided, and why."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.model import User
    from gateway.rules.simulate import Outcome
    from gateway.server.explain import Explanation

_BOLD, _GREEN, _YELLOW, _RED = "1", "32", "33", "31"
_COLOURS = {"allow": _GREEN, "challenge": _YELLOW, "deny": _RED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from gateway.rules.simulate import LOOPBACK

    parser.epilog = (
        "The request is a browser's navigation, by nobody unless --user, --role or --permission "
        "say by whom. Exit status: 0 allowed, 1 refused, 2 invalid."
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    parser.add_argument("method", type=_method, metavar="METHOD", help="such as GET")
    parser.add_argument("url", type=_url, metavar="URL", help="a URL, or a path with query")
    parser.add_argument("--user", type=_name("user_id"), metavar="ID", help="who is signed in")
    parser.add_argument(
        "--role",
        type=_name("role_name"),
        action="append",
        default=[],
        metavar="R",
        help="a role of theirs; may be said again",
    )
    parser.add_argument(
        "--permission",
        type=_name("permission_name"),
        action="append",
        default=[],
        metavar="P",
        help="a permission of theirs; may be said again",
    )
    parser.add_argument("--anonymous", action="store_true", help="nobody is signed in")
    parser.add_argument(
        "--client",
        type=_address,
        default=LOOPBACK,
        metavar="IP",
        help="the client's address, for network rules (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(args: argparse.Namespace) -> int:
    """Explain one request. Exit 0 if it is allowed, 1 if refused, 2 for a bad configuration."""
    import time

    from gateway.config.load import load_file
    from gateway.errors import ConfigError
    from gateway.rules.simulate import Verdict, Visit
    from gateway.server.explain import explain

    user = _user(args)
    if args.anonymous and user is not None:
        named = "--anonymous is nobody: without --user, --role and --permission"
        print(f"gateway explain: {named}", file=sys.stderr)
        return 2
    try:
        config = load_file(args.config, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    visit = Visit(method=args.method, target=args.url, user=user, client=args.client)
    explanation = explain(config, visit, now=time.time())
    if args.json:
        print(json.dumps(explanation.as_json(), indent=2))
    else:
        for line in _lines(explanation, str(args.config), _painter()):
            print(line)
    return 0 if explanation.outcome.verdict is Verdict.ALLOW else 1


Paint = Callable[[str, str], str]


def _lines(explanation: Explanation, file: str, paint: Paint) -> Iterator[str]:
    visit, outcome, route = explanation.visit, explanation.outcome, explanation.route
    yield paint(_plain(f"{visit.method} {visit.target} as {_who(outcome)}"), _BOLD)
    yield paint(_decision(outcome), _COLOURS[outcome.verdict])
    yield ""
    if route is not None:
        yield f"route     {_plain(route.id)} ({_plain(file)}:{route.line})"
    elif outcome.owner is not None:
        yield "route     none: `defaults` decides"
    elif outcome.allow:
        yield f"route     none that lists {visit.method}: only {', '.join(outcome.allow)}"
    elif outcome.verdict is outcome.verdict.ALLOW:
        yield "route     none: this is a page of the gateway itself"
    else:
        yield "route     none was looked for"
    for rival in explanation.also_matching:
        where = f"{_plain(rival.route.id)} ({_plain(file)}:{rival.route.line})"
        yield f"          also matches: {where}: {_plain(rival.why)}"
    for title, rule in zip(_titles("rules"), explanation.rules, strict=False):
        mark = paint("holds", _GREEN) if rule.holds else paint("fails", _RED)
        yield f"{title:10}{mark}  {rule.rule}: {_plain(', '.join(rule.wanted))}"
    if outcome.upstream:
        yield f"upstream  {outcome.upstream}: {visit.method} {_plain(outcome.upstream_path)}"
    for title, (name, value) in zip(_titles("headers"), outcome.headers, strict=False):
        yield f"{title:10}{name}: {_plain(value)}"
    for title, note in zip(_titles("notes"), explanation.notes, strict=False):
        yield f"{title:10}{note}"


def _who(outcome: Outcome) -> str:
    caller = outcome.caller
    if caller is None:
        return "anonymous"
    words = [f"user={caller.user.id}"]
    if caller.roles:
        words.append(f"role={','.join(sorted(caller.roles))}")
    if caller.permissions:
        words.append(f"permission={','.join(sorted(caller.permissions))}")
    return " ".join(words)


def _decision(outcome: Outcome) -> str:
    told = {"json": " as problem+json", "login": " to sign in"}.get(outcome.kind, "")
    where = f", to {_plain(outcome.location)}" if outcome.location else ""
    why = f"{outcome.reason}: {outcome.detail}" if outcome.detail else str(outcome.reason)
    return f"{outcome.verdict}: {outcome.status}{told} ({why}){where}"


def _titles(first: str) -> Iterator[str]:
    yield first
    while True:
        yield ""


def _painter() -> Paint:
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if coloured else text

    return paint


def _plain(text: str) -> str:
    # What would steer the operator's terminal is shown, not sent.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# --- arguments -----------------------------------------------------------------------------------


def _user(args: argparse.Namespace) -> User | None:
    from gateway.model import User
    from gateway.rules.policy_tests import SOMEBODY

    if args.user is None and not args.role and not args.permission:
        return None
    return User(
        id=args.user or SOMEBODY, roles=tuple(args.role), permissions=tuple(args.permission)
    )


def _method(text: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", text):
        raise argparse.ArgumentTypeError("expected a method, such as GET")
    return text.upper()


def _url(text: str) -> str:
    from gateway.rules.policy_tests import check_target

    return _checked(check_target, text)


def _name(kind: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        from gateway.config import names

        return _checked(getattr(names, kind), text)

    return check


def _address(text: str) -> str:
    from ipaddress import ip_address

    return _checked(lambda text: str(ip_address(text)), text)


def _checked(check: Callable[[str], str], text: str) -> str:
    try:
        text.encode()
        return check(text)
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("expected UTF-8") from None
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
