"""What is sealed here opens in the packages themselves, and the other way round."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.formats import authjs, nextauth
from tests.apps.building import built, environment, node

SECRET, OLDER = "a secret that both sides know, é", "the one before"
USERS: list[dict[str, Any]] = [
    {"sub": "1"},
    {"sub": "1", "name": "Ada Ł. 😀 漢", "email": "ada@example.com", "picture": None},
    {"sub": "2", "roles": [f"role-{number}" for number in range(400)]},
    {"sub": "3", "deep": {"list": [1, 2.5, True, {"a": None}]}, "__proto__x": "y"},
    {"sub": "4", "name": 'line\r\nfeed \x00 "quoted" \\ \u2028 \x7f'},
    {"sub": "5", "exp": 1, "iat": 1, "nbf": 1, "jti": "of an older token"},
]

# The package is asked to open and to make tokens, all in one process.
SCRIPT = """
import { decode, encode } from 'next-auth/jwt';
let text = '';
for await (const part of process.stdin) text += part;
const { tokens, users, ...app } = JSON.parse(text);
const opened = [];
for (const token of tokens) opened.push(await decode({ token, ...app }));
const made = [];
for (const token of users) made.push(await encode({ token, maxAge: 3600, ...app }));
console.log(JSON.stringify({ opened, made }));
"""


def asked(folder: Path, question: dict[str, Any]) -> dict[str, list[Any]]:
    done = subprocess.run(
        [node(), "--input-type=module", "-e", SCRIPT],
        cwd=folder, env=environment(), input=json.dumps(question), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[Any]] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("app", "codec", "secret"),
    [
        pytest.param("nextjs", nextauth, SECRET, id="next-auth 4"),
        pytest.param("authjs", authjs, SECRET, id="Auth.js 5"),
        pytest.param("authjs", authjs, [SECRET, OLDER], id="Auth.js 5 with two secrets"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "__Secure-"])
def test_both_sides_open_what_the_other_sealed(
    app: str, codec: ModuleType, secret: str | list[str], prefix: str
) -> None:
    name = prefix + codec.COOKIES[0]
    now = time.time()
    keys = codec.Keys([secret] if isinstance(secret, str) else secret, name)
    tokens = [
        codec.seal(user, keys, now=now, max_age=60, jti=f"token-{number}",
                   iv=number.to_bytes(codec.IV_BYTES, "big"))
        for number, user in enumerate(USERS)
    ]  # fmt: skip
    # Version 4 takes a salt for its other cookies alone.
    salt = {"salt": name} if codec is authjs else {}
    answer = asked(built(app), {"tokens": tokens, "users": USERS, "secret": secret, **salt})
    times = {"iat": int(now), "exp": int(now) + 60}
    assert answer["opened"] == [
        {**user, **times, "jti": f"token-{number}"} for number, user in enumerate(USERS)
    ]
    for user, token in zip(USERS, answer["made"], strict=True):
        claims = codec.open(token, keys, time.time()).claims
        assert claims["exp"] == claims["iat"] + 3600
        assert {**user, **{key: claims[key] for key in ("iat", "exp", "jti")}} == claims
