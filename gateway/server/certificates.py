"""TLS on the near side: which certificate a client gets, and new files when there are some."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress

import structlog

from gateway.config.config import TlsFiles
from gateway.rules.certificates import dns_names, find_certificate

log = structlog.get_logger()

_INTERVAL = 1.0
# Forward secrecy and authenticated encryption; TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Certificates:
    """The certificates in force. ``context`` stays the same for a listener's whole life.

    Args:
        files: Pairs that loading has found to be readable; the first is for names of no other.

    Raises:
        OSError: A file went meanwhile, or is no pair any more (``ssl.SSLError``).
    """

    def __init__(self, files: Sequence[TlsFiles]) -> None:
        self.context = _context()
        self._files = tuple(files)
        self._stamps = _stamps(self._files)
        self._default, self._by_name = _load(self._files)
        self.context.sni_callback = self._choose

    def use(self, files: Sequence[TlsFiles]) -> None:
        """Take these for every handshake from now on; connections that stand keep theirs.

        Raises:
            OSError: They cannot be used; the old ones stay.
        """
        stamps = _stamps(files)
        self._default, self._by_name = _load(files)
        self._files, self._stamps = tuple(files), stamps

    async def watch(self) -> None:
        """Take new files a moment after they changed. Never returns.

        A certificate and its key are seldom replaced at the same moment: what is no pair is tried
        again, and told once if it stays so.
        """
        refused: object = None
        while True:
            await asyncio.sleep(_INTERVAL)
            stamps = _stamps(self._files)
            if stamps == self._stamps:
                continue
            try:
                self.use(self._files)
            except (OSError, ValueError) as error:
                if refused == stamps:
                    log.error("certificates refused", detail=getattr(error, "strerror", None))
                    self._stamps = stamps
                refused = stamps
            else:
                log.info("certificates renewed")

    def _choose(
        self, handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        handshake.context = find_certificate(self._by_name, name) or self._default


def _load(files: Sequence[TlsFiles]) -> tuple[ssl.SSLContext, dict[str, ssl.SSLContext]]:
    default: ssl.SSLContext | None = None
    by_name: dict[str, ssl.SSLContext] = {}
    for pair in files:
        context = _context()
        # The empty password keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(pair.cert, pair.key, password="")
        default = default or context
        for name in _names(pair):
            by_name.setdefault(name, context)
    assert default is not None  # noqa: S101  loading refuses an empty list
    return default, by_name


def _names(pair: TlsFiles) -> tuple[str, ...]:
    text = pair.cert.read_text("latin-1")
    try:
        start, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
        return dns_names(ssl.PEM_cert_to_DER_cert(text[start:end]))
    except ValueError:  # OpenSSL could read it, and we cannot: it is there for no name
        return ()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamps(files: Sequence[TlsFiles]) -> list[tuple[int, int, int] | None]:
    """Return what tells another file from the one that was read."""
    found: list[tuple[int, int, int] | None] = []
    for file in (file for pair in files for file in (pair.cert, pair.key)):
        found.append(None)
        with suppress(OSError):
            status = file.stat()
            found[-1] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found
