"""The client that a case drives: Autobahn's protocol object, as far as cases use it.

What cases call or read has Autobahn's names.
"""

# ruff: noqa: N803

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace

from tests.suites.autobahn import frames
from tests.suites.autobahn.cases import Case
from tests.suites.autobahn.deflate import PerMessageDeflate, PerMessageDeflateOffer
from tests.suites.autobahn.frames import Frame, encode_head, masked, read_frame

PATIENCE = 10.0
"""Seconds that the opening handshake may take."""

CLOSING = 10.0
"""Seconds that the server has for each step of the closing handshake; Autobahn gives it one, which
an echo that has large messages of others in hand may need."""

Payload = str | bytes

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Endpoint:
    """One connection, driven by one case.

    Args:
        port: The loopback port to connect to.
        new_case: Makes the case for this endpoint.
        as_bytes: Whether the case wants payloads as bytes, rather than latin-1 text.
    """

    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = 0, 1, 2, 3
    CLOSE_STATUS_CODE_NULL = 1005
    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_GOING_AWAY = 1001
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007

    def __init__(
        self,
        *,
        port: int,
        path: str,
        new_case: type[Case],
        as_bytes: bool,
    ) -> None:
        self._port, self._path = port, path
        self._as_bytes = as_bytes
        self._timers: list[asyncio.TimerHandle] = []
        self._outgoing: asyncio.Queue[tuple[bytes, int | None]] = asyncio.Queue()
        self._close_received = False
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        self.factory = SimpleNamespace(isServer=False)
        self.state = self.STATE_CONNECTING
        self.connectionWasOpen = False
        self.wasClean = False
        self.closedByMe = self.failedByMe = self.droppedByMe = False
        self.localCloseReason: Payload | None = None
        self.remoteCloseCode: int | None = None
        self.autoFragmentSize = 0
        self.txFrameStats: dict[int, int] = {}
        self.trafficStats = None
        self.perMessageCompressionOffers: Sequence[PerMessageDeflateOffer] = ()
        self._perMessageCompress: PerMessageDeflate | None = None
        self.case = new_case(self)

    async def run(self) -> None:
        """Play the case from the opening handshake to the end of the connection.

        Raises:
            ConnectionError: No WebSocket was opened.
        """
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=1 << 22
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await self._open()
            await self._play()
        finally:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self.case.onConnectionLost(self.failedByMe)

    async def _play(self) -> None:
        sending = asyncio.create_task(self._send_queued())
        receiving = asyncio.create_task(self._receive())
        try:
            self.state = self.STATE_OPEN
            self.connectionWasOpen = True
            self.case.onOpen()
            await asyncio.wait([receiving, self._fault], return_when=asyncio.FIRST_COMPLETED)
            for ended in (receiving, self._fault):
                if ended.done():
                    ended.result()
        finally:
            self.state = self.STATE_CLOSED
            for timer in self._timers:
                timer.cancel()
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _open(self) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"Host: localhost:{self._port}",
            "Upgrade: WebSocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        if self.perMessageCompressionOffers:
            offers = ", ".join(map(str, self.perMessageCompressionOffers))
            lines.append(f"Sec-WebSocket-Extensions: {offers}")
        self._writer.write("\r\n".join([*lines, "\r\n"]).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        accepted = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        if " 101 " not in head.partition("\r\n")[0] or accepted not in head:
            raise ConnectionError(f"no WebSocket: {head}")
        agreed = re.search(r"(?im)^Sec-WebSocket-Extensions: *(.*?)\r$", head)
        if agreed is not None:
            if not self.perMessageCompressionOffers:
                raise ConnectionError(f"an extension that was not offered: {agreed[1]}")
            self._perMessageCompress = PerMessageDeflate(agreed[1])

    def enableWirelog(self, enabled: bool) -> None:
        """There is no log of the wire."""

    # --- time --------------------------------------------------------------------------------

    def continueLater(self, delay: float, step: Callable[[], None], tag: str = "") -> None:
        self._later(delay, step)

    def killAfter(self, delay: float) -> None:
        self._later(delay, self.failConnection)

    def closeAfter(self, delay: float) -> None:
        self._later(delay, self.sendClose)

    def _later(self, delay: float, step: Callable[[], None]) -> None:
        def run() -> None:
            if self.state == self.STATE_CLOSED:
                return
            try:
                step()
            except Exception as error:  # the case's own: it fails, and not the event loop
                if not self._fault.done():
                    self._fault.set_exception(error)

        self._timers.append(asyncio.get_running_loop().call_later(delay, run))

    # --- sending -----------------------------------------------------------------------------

    def sendFrame(
        self,
        opcode: int,
        payload: Payload = "",
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = None,
        payload_len: int | None = None,
        chopsize: int | None = None,
        sync: bool = False,
    ) -> None:
        data = _octets(payload)
        if payload_len is not None:
            data = (data * (payload_len // len(data) + 1))[:payload_len]
        frame = self._frame(opcode, data, final=fin, reserved=rsv, mask=mask)
        self._outgoing.put_nowait((frame, chopsize))

    def _frame(
        self,
        opcode: int,
        payload: bytes,
        *,
        final: bool = True,
        reserved: int = 0,
        mask: bytes | None = None,
    ) -> bytes:
        mask = mask or os.urandom(4)
        length = len(payload)
        head = encode_head(opcode=opcode, final=final, reserved=reserved, length=length, mask=mask)
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        return head + masked(payload, mask)

    def sendMessage(
        self,
        payload: Payload,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> None:
        if self.state != self.STATE_OPEN:
            return
        data = _octets(payload)
        reserved = 0
        if self._perMessageCompress is not None:
            data = self._perMessageCompress.compress(data)
            reserved = frames.COMPRESSED
        size = fragmentSize or self.autoFragmentSize or len(data) or 1
        opcode = frames.BINARY if isBinary else frames.TEXT
        parts = []
        for start in range(0, max(len(data), 1), size):
            end = start + size
            final = end >= len(data)
            parts.append(self._frame(opcode, data[start:end], final=final, reserved=reserved))
            opcode, reserved = frames.CONTINUATION, 0
        self._outgoing.put_nowait((b"".join(parts), None))

    def beginMessage(self, isBinary: bool = False, doNotCompress: bool = False) -> None:
        self._message_opcode = frames.BINARY if isBinary else frames.TEXT

    def beginMessageFrame(self, length: int) -> None:
        self._frame_mask = os.urandom(4)
        self._frame_left = length
        head = encode_head(
            opcode=self._message_opcode,
            final=False,
            reserved=0,
            length=length,
            mask=self._frame_mask,
        )
        self._message_opcode = frames.CONTINUATION
        self._outgoing.put_nowait((head, None))

    def sendMessageFrameData(self, payload: Payload, sync: bool = False) -> int:
        data = _octets(payload)[: self._frame_left]
        self._frame_left -= len(data)
        self._outgoing.put_nowait((masked(data, self._frame_mask), None))
        turn = len(data) % 4
        self._frame_mask = self._frame_mask[turn:] + self._frame_mask[:turn]
        return self._frame_left

    def endMessage(self) -> None:
        self.sendFrame(frames.CONTINUATION)

    async def _send_queued(self) -> None:
        with suppress(ConnectionError):
            while True:
                data, size = await self._outgoing.get()
                if size is None:
                    self._writer.write(data)
                else:
                    for start in range(0, len(data), size):
                        self._writer.write(data[start : start + size])
                        await asyncio.sleep(0)  # so that the pieces do not become one
                await self._writer.drain()

    # --- closing -----------------------------------------------------------------------------

    def sendClose(self, code: int | None = None, reason: str | None = None) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, None if reason is None else reason.encode())

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: Payload | None = None, isReply: bool = False
    ) -> None:
        if self.state in (self.STATE_CLOSING, self.STATE_CLOSED) and not isReply:
            return
        reason = _octets(reasonUtf8 or "")
        self.sendFrame(frames.CLOSE, b"" if code is None else struct.pack("!H", code) + reason)
        self.state = self.STATE_CLOSING
        self.closedByMe = not isReply
        self.localCloseReason = reasonUtf8
        if not isReply:
            self._later(CLOSING, self._give_up_closing)

    def failConnection(self, code: int = 1001, reason: str = "Going Away") -> None:
        self.failedByMe = True
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason)
        else:
            self._drop()

    def _give_up_closing(self) -> None:
        if not self._close_received:
            self._drop()

    def _drop(self) -> None:
        self.droppedByMe = True
        self.state = self.STATE_CLOSED
        self._writer.close()

    # --- receiving ---------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Take frames until the connection ends."""
        message: list[Frame] = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.state != self.STATE_CLOSED:
                frame = await read_frame(self._reader)
                compression = self._perMessageCompress is not None
                if frame.breaks_the_rules(compression=compression, continues=bool(message)):
                    self.failConnection(1002, "Protocol error")
                elif self._close_received:
                    pass  # nothing counts after a close frame
                elif frame.is_control:
                    self._receive_control(frame)
                else:
                    message.append(frame)
                    if frame.final:
                        self._receive_message(message)
                        message = []

    def _receive_control(self, frame: Frame) -> None:
        match frame.opcode:
            case frames.CLOSE:
                self._close_received = True
                self.wasClean = True
                if frame.payload:
                    (self.remoteCloseCode,) = struct.unpack("!H", frame.payload[:2])
                if self.state == self.STATE_OPEN:
                    self.sendCloseFrame(self.remoteCloseCode, isReply=True)
                self._later(CLOSING, self._drop)
            case frames.PING:
                if self.state == self.STATE_OPEN:
                    self.sendFrame(frames.PONG, frame.payload)
                self.case.onPing(frame.payload.decode("latin-1"))
            case _:
                self.case.onPong(frame.payload.decode("latin-1"))

    def _receive_message(self, parts: list[Frame]) -> None:
        payload = b"".join(frame.payload for frame in parts)
        if parts[0].reserved and self._perMessageCompress is not None:
            payload = self._perMessageCompress.decompress(payload)
        is_binary = parts[0].opcode == frames.BINARY
        if not is_binary and not _is_utf8(payload):
            self.failConnection(1007, "bad UTF-8")
        else:
            self.case.onMessage(payload if self._as_bytes else payload.decode("latin-1"), is_binary)


def _octets(payload: Payload) -> bytes:
    return payload.encode("latin-1") if isinstance(payload, str) else payload


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
