"""A visitor over HTTP, with a jar for cookies: what a browser does on the gateway's own pages."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

AUTH = "/_gateway/auth"


@dataclass
class Page:
    """An answer, read."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    def json(self) -> Any:
        """Return the body's content."""
        return json.loads(self.text)


@dataclass
class Visitor:
    """Somebody with a browser, on one gateway."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Page:
        """Ask for a page, as a browser's navigation unless headers say otherwise."""
        return self.ask("GET", path, None, {"Accept": "text/html", **headers})

    def post(self, path: str, form: dict[str, str], **headers: str) -> Page:
        """Send a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(form), kind | {"Accept": "text/html", **headers})

    def ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Page:
        """Send a request over a connection of its own, and keep the cookies of the answer."""
        if self.cookies:
            jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers = {**headers, "Cookie": jar}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value or "max-age=0" in line.lower():
                del self.cookies[name]
        return Page(answer.status, answer.headers, text)

    def form_token(self) -> str:
        """Return the token that forms need."""
        token: str = self.get(f"{AUTH}/csrf").json()["csrfToken"]
        return token

    def sign_in(self, user: str, password: str, **form: str) -> Page:
        """Send the sign-in form."""
        form = {"csrfToken": self.form_token(), "username": user, "password": password} | form
        return self.post(f"{AUTH}/signin/local", form)

    def sign_out(self) -> Page:
        """Send the sign-out form."""
        return self.post(f"{AUTH}/signout", {"csrfToken": self.form_token()})
