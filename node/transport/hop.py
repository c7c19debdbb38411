"""The sending side of the frame path: kept HTTP connections to the data ports of other nodes."""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from node.transport.hop_answers import ANSWER_S, LOOK_S, Answer, Answers, always
from node.transport.http11 import PIPELINED, Disconnected, send_all, set_silence
from node.transport.tls_stream import Stream, TlsStream
from wire.credential import Credential
from wire.packet import MEDIA_TYPE, Buffer, total
from wire.tls import BadCertificate

CONNECT_S = 2.0  # a node that does not take a connection by then is away


class HopClient:
    """One kept connection to one node's data port. Not thread-safe: a thread owns it."""

    def __init__(self, url: str, credential: Credential | None = None) -> None:
        """credential: what it shows, and whom it trusts when *url* is https."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._address = (parts.hostname or "127.0.0.1", parts.port or (443 if self._secure else 80))
        self._credential = credential or Credential()
        self._shown = self._credential.version  # what of it is in the heads
        self._host = parts.netloc
        self._socket: Stream | None = None
        self._answers: Answers | None = None
        self._heads: dict[tuple[str, str, bool], bytes] = {}

    def __repr__(self) -> str:
        return f"<HopClient {self._host} {'open' if self._socket else 'closed'}>"

    def post(
        self, path: str, pieces: list[Buffer], media_type: str = MEDIA_TYPE, matters: Callable[[], bool] = always
    ) -> Answer:
        """Post *pieces* as one body, when nothing else is under way.

        A kept connection that the peer closed meanwhile is opened again, once. Raises Disconnected, also soon after
        the answer does not *matter* any more.
        """
        if self._socket is not None:
            try:
                return self._exchange(path, pieces, media_type, matters)
            except Disconnected:
                self.close()
                if not matters():
                    raise
        return self._exchange(path, pieces, media_type, matters)

    def _exchange(self, path: str, pieces: list[Buffer], media_type: str, matters: Callable[[], bool]) -> Answer:
        self.send(path, pieces, media_type)
        answer = self.answer(matters=matters)
        if answer is None:
            raise Disconnected("no answer")
        return answer

    def send(self, path: str, pieces: list[Buffer], media_type: str = MEDIA_TYPE, *, follows: bool = False) -> None:
        """Send *pieces* as one body without waiting for the answer. Raises Disconnected.

        follows: the packet before this one has no answer yet; if it is refused, so must this one be.
        """
        size = total(pieces)
        head = self._head(path, media_type, follows) + b"%d\r\n\r\n" % size
        try:
            send_all(self._socket or self._connect(), [head, *pieces], size + len(head))
        except Disconnected:
            self.close()
            raise

    def answer(self, *, wait: bool = True, matters: Callable[[], bool] = always) -> Answer | None:
        """Return the next answer; None when it is not there and nobody waits. Raises Disconnected, also soon after the
        answer does not *matter* any more.

        One that ends the connection closes it here too.
        """
        if self._answers is None:
            raise Disconnected("not connected")
        try:
            answer = self._answers.next(wait=wait, matters=matters)
        except Disconnected:
            self.close()
            raise
        if answer is not None and not answer.keep_alive:
            self.close()
        return answer

    def _connect(self) -> Stream:
        try:
            sock = socket.create_connection(self._address, timeout=CONNECT_S)
        except OSError as error:
            raise Disconnected(f"{self._host}: {error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_silence(sock, ANSWER_S)
        stream = self._secured(sock) if self._secure else sock
        set_silence(stream, LOOK_S, sending_s=ANSWER_S)
        self._socket, self._answers = stream, Answers(stream)
        return stream

    def _secured(self, sock: socket.socket) -> Stream:
        """Return TLS on *sock*, with a peer that has proved to be who it should be. Raises Disconnected."""
        try:
            stream = TlsStream(sock, self._credential.context(), self._address[0])
            stream.handshake()
        except (OSError, BadCertificate) as error:
            sock.close()
            raise Disconnected(f"{self._host}: {error}") from error
        return stream

    def _head(self, path: str, media_type: str, follows: bool) -> bytes:
        if self._shown != self._credential.version:
            self._shown = self._credential.version
            self._heads.clear()
        head = self._heads.get((path, media_type, follows))
        if head is None:
            shown = "".join(f"{name}: {value}\r\n" for name, value in self._credential.header().items())
            text = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\n{shown}Content-Type: {media_type}\r\n"
            if follows:
                text += f"{PIPELINED}: 1\r\n"
            head = self._heads[path, media_type, follows] = (text + "Content-Length: ").encode("latin-1")
        return head

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = self._answers = None
