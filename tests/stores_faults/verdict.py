"""What may never happen to a request while the store is away, and how soon all is well again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.stores_faults.load import Answer, Visitor

BACK_WITHIN = 2.0
LONGEST = 2.5
"""Seconds that an answer may take: the time limit of the store, and a machine that is busy."""


def judge(answers: Sequence[Answer], *, lost: float, back: float, revoked: Visitor) -> str:
    """Fail the test for an answer that is wrong; return what happened, in a line.

    Args:
        lost: When the store went.
        back: When it could be used again.
        revoked: Whose session ended before.
    """
    for answer in answers:
        visitor, said = answer.visitor, (answer.status, answer.body)
        when = f"{answer.at - lost:+.3f} s after the loss"
        assert answer.status, f"no answer for {visitor}, {when}"
        if visitor == revoked and answer.status != 503:
            assert answer.status == 401, f"a revoked session lives on: {said}, {when}"
        elif answer.status == 503:
            assert visitor.may_be_out, f"{visitor} was refused: {said}, {when}"
            assert answer.at > lost - 0.1, f"refused before the loss: {said}, {when}"
            assert answer.at < back + BACK_WITHIN, f"still refused {answer.at - back:.1f} s after"
        elif visitor != revoked:
            # Nobody is signed out, and nobody is taken for somebody else.
            expected = (200, visitor.user) if visitor.user != "stranger" else (401, answer.body)
            assert said == expected, f"{visitor}: {said}, {when}"
        longest = LONGEST if visitor.may_be_out else 1.0
        assert answer.took < longest, f"{visitor} waited {answer.took:.1f} s, {when}"
    refused = [answer.at for answer in answers if answer.status == 503]
    statuses = Counter(answer.status for answer in answers)
    slowest = max(answer.took for answer in answers)
    away = f"refused for {max(refused) - min(refused):.2f} s" if refused else "nobody refused"
    after = f", the last {max(refused) - back:+.2f} s after the return" if refused else ""
    return f"{len(answers)} requests {dict(statuses)}: {away}{after}; slowest {slowest:.2f} s"
