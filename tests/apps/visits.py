"""What browsers do at the applications."""

from __future__ import annotations

from tests.integration.browser import Page, Visitor

JSON = {"Content-Type": "application/json"}


def auth_sign_in(visitor: Visitor, origin: str, user: str, password: str, **headers: str) -> Page:
    """Sign in at an app's own next-auth, as its browser client does."""
    token = visitor.get("/api/auth/csrf").json()["csrfToken"]
    form = {"username": user, "password": password, "csrfToken": token}
    form |= {"json": "true", "callbackUrl": f"{origin}/profile"}
    return visitor.post("/api/auth/callback/credentials", form, **headers)


def session_cookies(page: Page) -> list[str]:
    names = [line.partition("=")[0] for line in page.headers.get_all("Set-Cookie", [])]
    return [name for name in names if "session-token" in name]
