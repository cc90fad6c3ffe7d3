from __future__ import annotations

import pytest

from gateway.errors import Reason
from gateway.model import Access, Allow, Caller, Challenge, Decision, Deny, Route, User
from gateway.rules.continuing import broken_off

ROUTE = Route(id="/x", access=Access.OPTIONAL)


def caller(
    user_id: str = "ada",
    *,
    provider: str = "local",
    roles: tuple[str, ...] = ("viewer",),
    permissions: tuple[str, ...] = ("read",),
) -> Caller:
    return Caller(
        user=User(id=user_id, provider=provider),
        roles=frozenset(roles),
        permissions=frozenset(permissions),
    )


def allowed(who: Caller | None = None) -> Allow:
    return Allow(route=ROUTE, caller=who)


@pytest.mark.parametrize(
    ("decision", "told", "expected"),
    [
        pytest.param(allowed(caller()), caller(), None, id="nothing has changed"),
        pytest.param(allowed(), None, None, id="nobody was asked, and nobody is"),
        pytest.param(allowed(caller()), None, None, id="somebody has signed in since"),
        pytest.param(
            Challenge(route=ROUTE), caller(), Reason.NOT_SIGNED_IN, id="a session would be needed"
        ),
        pytest.param(Challenge(route=ROUTE), None, Reason.NOT_SIGNED_IN, id="a session by now"),
        pytest.param(
            Deny(reason=Reason.MISSING_ROLE), caller(), Reason.MISSING_ROLE, id="a rule is broken"
        ),
        pytest.param(Deny(reason=Reason.DENIED), None, Reason.DENIED, id="nobody may any more"),
        pytest.param(
            allowed(),
            caller(),
            Reason.NOT_SIGNED_IN,
            id="it would pass without a session, but the upstream was told of one",
        ),
        pytest.param(
            allowed(caller("grace")), caller(), Reason.NOT_SIGNED_IN, id="it is another user"
        ),
        pytest.param(
            allowed(caller(provider="corp")),
            caller(),
            Reason.NOT_SIGNED_IN,
            id="it is the same id of another provider",
        ),
        pytest.param(
            allowed(caller(roles=("editor", "viewer"), permissions=("read", "write"))),
            caller(),
            None,
            id="rights were gained",
        ),
        pytest.param(
            allowed(caller(roles=("editor",))), caller(), Reason.MISSING_ROLE, id="a role is lost"
        ),
        pytest.param(
            allowed(caller(permissions=())),
            caller(),
            Reason.MISSING_PERMISSION,
            id="a permission is lost",
        ),
        pytest.param(
            allowed(caller(permissions=("*",))), caller(), None, id="every permission has them all"
        ),
        pytest.param(
            allowed(caller(permissions=("read",))),
            caller(permissions=("*",)),
            Reason.MISSING_PERMISSION,
            id="no longer every permission",
        ),
    ],
)
def test_what_ends_an_exchange(
    decision: Decision, told: Caller | None, expected: Reason | None
) -> None:
    assert broken_off(decision, told) is expected
