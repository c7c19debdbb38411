"""TLS over a socket, with the calls of a plain one that the frame path uses, so that both look alike to it.

    caller ── recv, recv_into, sendmsg ──▶ SSLObject ◀── two memory buffers ──▶ socket

The encryption knows no waiting: whether a call may block is the flags' affair (MSG_DONTWAIT), as with a plain socket.
The handshake is made by the first call that reads or writes. One thread at a time, as with any connection.
"""

import contextlib
import socket
import ssl
from collections.abc import Sequence
from typing import Self

from wire.packet import Buffer
from wire.tls import NOT_TLS

RECEIVE_SIZE = 64 * 1024  # bytes of cipher text read at a time
RECORD = 16 * 1024  # bytes of plain text that TLS encrypts at a time


class TlsStream:
    """One TLS connection on top of *sock*, which it owns."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """server_name: whom a client means to reach; its certificate must be for that. None: this is the server."""
        self._socket = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = server_name is None
        self._tls = context.wrap_bio(self._in, self._out, server_side=self._server, server_hostname=server_name)
        self._unsent = b""  # cipher text that did not fit into the socket
        self._ended = False  # we have said that nothing more comes from us

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- as a socket has them ------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the number of the socket."""
        return self._socket.fileno()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set an option of the socket."""
        self._socket.setsockopt(level, option, value)

    def settimeout(self, seconds: float | None) -> None:
        """Set the socket's time-out."""
        self._socket.settimeout(seconds)

    def recv_into(self, room: memoryview | bytearray, size: int = 0, flags: int = 0) -> int:
        """Receive plain text into *room*; returns its length, 0 at the end. Raises OSError (BlockingIOError).

        After `shutdown` what comes is nobody's any more: it is cipher text.
        """
        if self._ended:
            return self._socket.recv_into(room, size, flags)
        while True:
            try:
                count = self._tls.read(size or len(room), room)
            except ssl.SSLWantReadError:
                self._send_out(flags)
                if not self._receive(flags):
                    return 0
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return 0
            except ssl.SSLError as error:
                self._refuse(error)
                raise
            else:
                return int(count)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive plain text; with MSG_PEEK only look whether the peer is there: what is returned is cipher text."""
        if flags & socket.MSG_PEEK:
            return self._socket.recv(size, flags)
        data = bytearray(size)
        return bytes(data[: self.recv_into(memoryview(data), size, flags)])

    def sendmsg(self, pieces: Sequence[Buffer], _ancillary: Sequence[object] = (), flags: int = 0) -> int:
        """Send *pieces*; returns how much of them is on its way, which with MSG_DONTWAIT may be less than all.

        `owes` is True then. Raises OSError (BlockingIOError when nothing could be sent).
        """
        self._send_out(flags)
        taken = 0
        for piece in pieces:
            view = memoryview(piece).cast("B")
            for start in range(0, len(view), RECORD):
                taken += self._write(view[start : start + RECORD], flags)
                try:
                    self._send_out(flags)
                except BlockingIOError:
                    if not flags & socket.MSG_DONTWAIT:
                        raise
                    return taken
        return taken

    def shutdown(self, how: int) -> None:
        """Say that nothing more will be sent, and shut the socket down."""
        self._say_goodbye()
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the connection."""
        self._say_goodbye()
        self._socket.close()

    # --- what a plain socket does not have -----------------------------------------------------------

    def handshake(self) -> None:
        """Make the handshake now, blocking. Raises OSError (ssl.SSLCertVerificationError for a wrong certificate)."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_out(0)
                if not self._receive(0):
                    raise ConnectionResetError("closed within the TLS handshake") from None
            else:
                self._send_out(0)
                return

    @property
    def pending(self) -> bool:
        """True when something has come that was not read yet: nothing of it is in the socket any more."""
        return self._in.pending > 0 or self._tls.pending() > 0

    @property
    def owes(self) -> bool:
        """True while cipher text of what was sent waits for room in the socket."""
        return bool(self._unsent) or self._out.pending > 0

    def _write(self, view: memoryview, flags: int) -> int:
        while True:
            try:
                return self._tls.write(view)
            except ssl.SSLWantReadError:  # the handshake is not over
                self._send_out(flags)
                if not self._receive(flags):
                    raise ConnectionResetError("closed within the TLS handshake") from None

    def _receive(self, flags: int) -> bool:
        """Take what the socket has; returns False at its end. Raises OSError."""
        data = self._socket.recv(RECEIVE_SIZE, flags & socket.MSG_DONTWAIT)
        self._in.write(data)
        return bool(data)

    def _send_out(self, flags: int) -> None:
        """Send the cipher text that is there. Raises OSError; BlockingIOError with `owes` when some must wait."""
        self._unsent += self._out.read()
        while self._unsent:
            sent = self._socket.send(self._unsent, flags & socket.MSG_DONTWAIT)
            self._unsent = self._unsent[sent:]

    def _refuse(self, error: ssl.SSLError) -> None:
        """Tell a peer why, as far as it will understand: the alert, or plain words to one that speaks plain HTTP."""
        with contextlib.suppress(OSError):
            if self._server and error.reason == "HTTP_REQUEST":
                self._socket.send(NOT_TLS, socket.MSG_DONTWAIT)
            else:
                self._send_out(socket.MSG_DONTWAIT)

    def _say_goodbye(self) -> None:
        """End the TLS connection, so that the peer can tell an end from a cut."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._send_out(socket.MSG_DONTWAIT)


Stream = socket.socket | TlsStream  # what a connection of the frame path runs on


def secured(sock: socket.socket, context: ssl.SSLContext | None) -> Stream:
    """Return the server's end of a new connection: TLS when there is a *context*."""
    return sock if context is None else TlsStream(sock, context)
