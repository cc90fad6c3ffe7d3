"""The requests that the fault tests send, and what each one must be answered.

Every byte of an answer follows from the request's nonce and from who asked, so that a piece of
another's answer shows wherever it lies. Client and upstream both know these rules.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to ask. Sizes are bytes."""

    name: str
    method: str = "GET"
    upload: int = 0
    split: bool = False
    """Whether the body comes after the head, in pieces: the gateway cannot send it twice."""
    upload_chunked: bool = False
    download: int = 100
    download_chunked: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether the gateway may send it once more where nothing was answered."""
        return self.method != "POST" and not self.split


KINDS = (
    Kind("get"),
    Kind("post", "POST", upload=300),
    Kind("get 48 KiB", download=48 << 10),
    Kind("post in pieces", "POST", upload=16 << 10, split=True),
    Kind("head", "HEAD", download=5000),
    Kind("get chunked", download=9000, download_chunked=True),
    Kind("post chunked", "POST", upload=2000, split=True, upload_chunked=True, download=0),
    Kind("put", "PUT", upload=200, download_chunked=True),
)


def target(path: str, nonce: str, kind: Kind) -> str:
    return f"{path}/{nonce}?size={kind.download}&chunked={kind.download_chunked:d}"


def upload(nonce: str, user: str, size: int) -> bytes:
    """Return the body of a request."""
    return hashlib.shake_128(f"upload {nonce} {user}".encode()).digest(size)


def download(nonce: str, user: str, size: int, uploaded: bytes) -> bytes:
    """Return the body of the answer: what was sent comes back behind what was asked for."""
    return hashlib.shake_128(f"download {nonce} {user}".encode()).digest(size) + uploaded
