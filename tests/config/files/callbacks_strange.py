from __future__ import annotations


def jwt(token: dict[str, object], account: dict[str, object]) -> dict[str, object]:
    return token | account
