"""A Lua script for Redis, as a word of a command."""

from __future__ import annotations

from hashlib import sha1


class Script(str):
    """The name under which Redis remembers a script that it has seen; brings the script along.

    For ``EVALSHA``. A server that does not know it (yet, or any more) is sent the text instead.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Script:
        """Return the name of a script."""
        name = sha1(text.encode(), usedforsecurity=False).hexdigest()
        script = super().__new__(cls, name)
        script.text = text
        return script
