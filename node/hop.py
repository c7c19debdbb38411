"""The sending side of the frame path: kept HTTP connections to the data ports of other nodes."""

import socket
from urllib.parse import urlsplit

from node.hop_answers import Answer, Answers
from node.http11 import PIPELINED, Disconnected, send_all, set_silence
from wire.packet import MEDIA_TYPE, Buffer, total

CONNECT_S = 2.0  # a node that does not take a connection by then is away
ANSWER_S = 15.0  # a gateway that does not answer by then is stuck


class HopClient:
    """One kept connection to one node's data port. Not thread-safe: a thread owns it."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._token = f"Authorization: Bearer {token}\r\n" if token else ""
        self._host = parts.netloc
        self._socket: socket.socket | None = None
        self._answers: Answers | None = None
        self._heads: dict[tuple[str, str, bool], bytes] = {}

    def __repr__(self) -> str:
        return f"<HopClient {self._host} {'open' if self._socket else 'closed'}>"

    def post(self, path: str, pieces: list[Buffer], media_type: str = MEDIA_TYPE) -> Answer:
        """Post *pieces* as one body, when nothing else is under way.

        A kept connection that the peer closed meanwhile is opened again, once. Raises Disconnected.
        """
        if self._socket is not None:
            try:
                return self._exchange(path, pieces, media_type)
            except Disconnected:
                self.close()
        return self._exchange(path, pieces, media_type)

    def _exchange(self, path: str, pieces: list[Buffer], media_type: str) -> Answer:
        self.send(path, pieces, media_type)
        answer = self.answer()
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

    def answer(self, *, wait: bool = True) -> Answer | None:
        """Return the next answer; None when it is not there and nobody waits. Raises Disconnected.

        One that ends the connection closes it here too.
        """
        if self._answers is None:
            raise Disconnected("not connected")
        try:
            answer = self._answers.next(wait=wait)
        except Disconnected:
            self.close()
            raise
        if answer is not None and not answer.keep_alive:
            self.close()
        return answer

    def _connect(self) -> socket.socket:
        try:
            sock = socket.create_connection(self._address, timeout=CONNECT_S)
        except OSError as error:
            raise Disconnected(f"{self._host}: {error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_silence(sock, ANSWER_S)
        self._socket, self._answers = sock, Answers(sock)
        return sock

    def _head(self, path: str, media_type: str, follows: bool) -> bytes:
        head = self._heads.get((path, media_type, follows))
        if head is None:
            text = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\n{self._token}Content-Type: {media_type}\r\n"
            if follows:
                text += f"{PIPELINED}: 1\r\n"
            head = self._heads[path, media_type, follows] = (text + "Content-Length: ").encode("latin-1")
        return head

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = self._answers = None
