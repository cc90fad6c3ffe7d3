"""An app that signs people in by itself, for gateways that are to believe it."""

from __future__ import annotations

import base64
import hmac
import json
import os
import time
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from redis import Redis

from gateway.formats import nextauth

NEXT_SECRET = "the secret of the Next app, 32 characters"
SHOP_SECRET = "the secret of the Express app, 32 characters"
NEXT_COOKIE = "next-auth.session-token"
SHOP_COOKIE = "connect.sid"


def next_cookie(
    *, secret: str = NEXT_SECRET, age: float = 0.0, max_age: float = 86400.0, **claims: Any
) -> str:
    """Return the cookies of somebody who is signed in to the Next app, as browsers send them."""
    sealed = nextauth.seal(
        claims,
        nextauth.Keys([secret]),
        now=time.time() - age,
        max_age=max_age,
        jti=str(uuid4()),
        iv=os.urandom(nextauth.IV_BYTES),
    )
    return "; ".join(f"{name}={v}" for name, v in nextauth.split(NEXT_COOKIE, sealed).items())


class Shop:
    """An Express app: express-session and connect-redis."""

    def __init__(self, port: int) -> None:
        self.redis = Redis(port=port)
        self.session_id = ""

    def sign_in(self, *, life: int = 86400, left: int | None = None, **session: Any) -> str:
        """Keep a session, and return its cookie."""
        self.session_id = base64.urlsafe_b64encode(os.urandom(24)).decode()
        cookie = {"originalMaxAge": life * 1000, "expires": None, "httpOnly": True, "path": "/"}
        value = json.dumps({"cookie": cookie, **session})
        self.redis.set(self.key, value, ex=life if left is None else left)
        return self.cookie(self.session_id)

    @property
    def key(self) -> str:
        """Of the last session."""
        return f"sess:{self.session_id}"

    def entry(self) -> bytes:
        """What the app keeps of the last session."""
        value = self.redis.get(self.key)
        assert isinstance(value, bytes)
        return value

    def sign_out(self) -> None:
        """End the last session."""
        self.redis.delete(self.key)

    @staticmethod
    def cookie(session_id: str, secret: str = SHOP_SECRET) -> str:
        made = hmac.digest(secret.encode(), session_id.encode(), "sha256")
        signature = base64.b64encode(made).decode().rstrip("=")
        return f"{SHOP_COOKIE}={quote(f's:{session_id}.{signature}', safe='')}"
