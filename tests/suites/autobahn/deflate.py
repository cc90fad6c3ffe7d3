"""permessage-deflate (RFC 7692), on the client's side, under the names that Autobahn has for it."""

# ruff: noqa: N815

from __future__ import annotations

import zlib
from dataclasses import dataclass

_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True)
class PerMessageDeflateOffer:
    """What a client asks for."""

    acceptNoContextTakeover: bool = True
    acceptMaxWindowBits: bool = True
    requestNoContextTakeover: bool = False
    requestMaxWindowBits: int = 0

    def __str__(self) -> str:
        words = ["permessage-deflate"]
        words += ["client_no_context_takeover"] if self.acceptNoContextTakeover else []
        words += ["client_max_window_bits"] if self.acceptMaxWindowBits else []
        words += ["server_no_context_takeover"] if self.requestNoContextTakeover else []
        bits = self.requestMaxWindowBits
        words += [f"server_max_window_bits={bits}"] if bits else []
        return "; ".join(words)


class PerMessageDeflate:
    """What client and server agreed on.

    Args:
        agreed: The server's ``Sec-WebSocket-Extensions``.
    """

    def __init__(self, agreed: str) -> None:
        name, *words = (word.strip() for word in agreed.split(";"))
        if name != "permessage-deflate":
            raise ConnectionError(f"an extension that was not offered: {agreed}")
        parameters = {key: value for key, _, value in (word.partition("=") for word in words)}
        self._client_bits = int(parameters.get("client_max_window_bits") or 15)
        self._server_bits = int(parameters.get("server_max_window_bits") or 15)
        self._fresh_compressor = "client_no_context_takeover" in parameters
        self._fresh_decompressor = "server_no_context_takeover" in parameters
        self._compressor = self._new_compressor()
        self._decompressor = zlib.decompressobj(-self._server_bits)

    def compress(self, message: bytes) -> bytes:
        if self._fresh_compressor:
            self._compressor = self._new_compressor()
        data = self._compressor.compress(message) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(_TAIL)

    def decompress(self, message: bytes) -> bytes:
        if self._fresh_decompressor:
            self._decompressor = zlib.decompressobj(-self._server_bits)
        return self._decompressor.decompress(message + _TAIL)

    def _new_compressor(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-max(9, self._client_bits))  # zlib cannot do 8
