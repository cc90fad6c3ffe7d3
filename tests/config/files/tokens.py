import secrets


def good() -> str:
    return secrets.token_urlsafe(32)


def same() -> str:
    return "always-the-same-token"


def short() -> str:
    return secrets.token_hex(4)


def monotonous() -> str:
    return "a" * 40


def of_other_characters() -> str:
    return "key: " + secrets.token_hex(16)


def number() -> int:
    return secrets.randbits(256)


def failing() -> str:
    raise OSError("whispered-to-nobody-else")
