"""What is said of names that a source may not give."""

from __future__ import annotations

import tracemalloc

from structlog.testing import capture_logs

from gateway.config.accepted import Accepted, Kind
from gateway.model import SessionKey
from gateway.rules.foreign import OBJECT, Trust
from gateway.sources.described import Describing

CONFIG = Accepted(
    kind=Kind.EXPRESS,
    cookies=("sid",),
    paths=OBJECT,
    trust=Trust(provider="shop", allowed_roles=frozenset({"buyer"})),
    forward_to=frozenset(),
)


def read(describing: Describing, user: str, *roles: str) -> None:
    payload = {"user": {"id": user, "roles": list(roles)}}
    describing.session(SessionKey(user), payload, touched_at=0.0, expires_at=1.0)


def test_it_is_said_once_for_a_user_and_these_names() -> None:
    describing = Describing(CONFIG)
    with capture_logs() as said:
        for _ in range(3):
            read(describing, "ada", "buyer", "admin")
            read(describing, "bob", "admin")
        read(describing, "ada", "admin", "root")
    assert [(line["user"], line["names"]) for line in said] == [
        ("ada", ["'admin'"]),
        ("bob", ["'admin'"]),
        ("ada", ["'admin'", "'root'"]),
    ]


def test_remembering_what_was_said_takes_little_memory() -> None:
    describing = Describing(CONFIG)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        with capture_logs() as said:
            for number in range(200):
                read(describing, str(number), *(f"{number}-{n}-{'x' * 200}" for n in range(200)))
            assert len(said) == 200
            said.clear()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000_000  # the names alone would be eight million
