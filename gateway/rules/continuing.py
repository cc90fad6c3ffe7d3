"""Whether what was allowed once may go on, though its session or the rules have changed since."""

from __future__ import annotations

from gateway.errors import Reason
from gateway.model import Allow, Caller, Decision
from gateway.rules.roles import holds


def broken_off(decision: Decision, told: Caller | None) -> Reason | None:
    """Return why an exchange that is under way has to end; None: it goes on.

    Besides what would be refused now, what the upstream was told must still be true. It has read
    roles and permissions once, at the beginning, and goes by them as long as the exchange lasts.
    That somebody has gained some since hurts nobody.

    Args:
        decision: About the same request, if it came now.
        told: Whom the upstream was told of; None: of nobody.
    """
    if not isinstance(decision, Allow):
        return decision.reason
    if told is None:
        return None
    caller = decision.caller
    if caller is None or _who(caller) != _who(told):
        return Reason.NOT_SIGNED_IN
    if not caller.roles.issuperset(told.roles):
        return Reason.MISSING_ROLE
    if not holds(caller.permissions, told.permissions):
        return Reason.MISSING_PERMISSION
    return None


def _who(caller: Caller) -> tuple[str, str]:
    return caller.user.provider, caller.user.id
