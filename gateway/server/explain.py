"""What a configuration would do with a request, told to its author.

What happens is ``rules.simulate``'s to say; here it is held against the file's policy tests and
put into words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.config.config import Config
from gateway.model import Route
from gateway.rules.policy import Checked, checked_rules
from gateway.rules.policy_tests import PolicyTest
from gateway.rules.simulate import Outcome, Policy, Verdict, Visit, simulate
from gateway.rules.specificity import Rival, rivals


def policy_of(config: Config) -> Policy:
    """Return what of a configuration decides about requests."""
    server = config.server
    return Policy(
        table=config.table,
        roles=config.roles,
        upstreams=config.upstreams,
        identity_headers=config.identity_headers,
        lifetime=config.session.lifetime,
        trusted_proxies=server.trusted_proxies,
        own_paths=(server.base_path, config.login.path),
        sign_in=config.login.page,
        public_url=server.public_url,
        secure=bool(server.tls),
    )


def failed_tests(config: Config) -> list[str]:
    """Run the policy tests of a file; return a line for each that does not hold."""
    policy = policy_of(config)
    return [
        f"{config.file}:{test.line}:{test.column}: tests[{index}]: {test.text}: {fault}"
        for index, test in enumerate(config.tests)
        if (fault := _fault(policy, test)) is not None
    ]


def _fault(policy: Policy, test: PolicyTest) -> str | None:
    visit = Visit(method=test.method, target=test.target, user=test.user)
    outcome = simulate(policy, visit, now=0.0)
    if outcome.status == test.status and test.kind in ("", outcome.kind):
        return None
    answer = f"{outcome.status} {outcome.kind}".rstrip()
    return f"the answer is {answer} ({outcome.reason}, {_source(policy, outcome)})"


def _source(policy: Policy, outcome: Outcome) -> str:
    if outcome.detail:
        return outcome.detail
    if outcome.owner is None:
        return "no route lists the method" if outcome.allow else "gateway page"
    if outcome.owner is policy.table.fallback:
        return "defaults"
    return f"route {outcome.owner.id} in line {outcome.owner.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would happen to a visit, and why."""

    visit: Visit
    outcome: Outcome
    route: Route | None
    """The entry of ``routes`` that owns the request."""
    rules: tuple[Checked, ...]
    also_matching: tuple[Rival, ...]
    notes: tuple[str, ...] = ()
    """What besides policy may change the answer, and was not asked here."""

    def as_json(self) -> dict[str, Any]:
        """Return it with names that programs may rely on."""
        outcome, visit, route = self.outcome, self.visit, self.route
        caller = outcome.caller
        return {
            "method": visit.method,
            "url": visit.target,
            "caller": caller
            and {
                "id": caller.user.id,
                "roles": sorted(caller.roles),
                "permissions": sorted(caller.permissions),
            },
            "route": None if route is None else _described(route),
            "decision": outcome.verdict,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "status": outcome.status,
            "kind": outcome.kind,
            "location": outcome.location,
            "allow": list(outcome.allow),
            "headers": dict(outcome.headers),
            "upstream": {"name": outcome.upstream, "path": outcome.upstream_path}
            if outcome.upstream
            else None,
            "rules": [
                {"rule": rule.rule, "wanted": list(rule.wanted), "holds": rule.holds}
                for rule in self.rules
            ],
            "also_matching": [
                {**_described(rival.route), "why_not": rival.why} for rival in self.also_matching
            ],
            "notes": list(self.notes),
        }


def explain(config: Config, visit: Visit, *, now: float) -> Explanation:
    """Say what would happen to a visit, and why."""
    policy = policy_of(config)
    outcome = simulate(policy, visit, now=now)
    owner, path = outcome.owner, outcome.path
    asked = path is not None and (owner is not None or outcome.allow)
    return Explanation(
        visit=visit,
        outcome=outcome,
        route=None if owner is policy.table.fallback else owner,
        rules=() if owner is None else checked_rules(owner, outcome.caller, client=visit.client),
        also_matching=rivals(policy.table, outcome.host, path, visit.method)
        if path is not None and asked
        else (),
        notes=() if owner is None else tuple(_notes(owner, outcome)),
    )


def _notes(route: Route, outcome: Outcome) -> Iterator[str]:
    limit = route.forwarding.rate_limit
    if limit is not None and outcome.verdict is Verdict.ALLOW:
        yield (
            f"rate_limit: {limit.requests} requests in {limit.window} s by {limit.by}, then 429; "
            "nothing is counted here"
        )
    if route.accept is not None:
        names = ", ".join(sorted(route.accept)) or "nobody else"
        yield f"accept: besides the gateway's own sessions, those of {names} count here"
    if route.forwarding.cors is not None:
        yield (
            "cors: a pre-flight (OPTIONS with Origin and Access-Control-Request-Method) about "
            "this request is answered by the gateway, whoever asks"
        )


def _described(route: Route) -> dict[str, Any]:
    return {
        "id": route.id,
        "line": route.line,
        "host": route.host,
        "path": route.pattern,
        "methods": list(route.methods),
        "access": route.access,
    }
