from __future__ import annotations


def jwt(token: dict[str, object]) -> dict[str, object]:
    return token


raise OSError("whispered-to-nobody-else")
