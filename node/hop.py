"""The sending side of the frame path: kept HTTP connections to the data ports of other nodes."""

import socket
from urllib.parse import urlsplit

from node.hop_answers import read_answer
from node.http11 import Disconnected, send_all, set_silence
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
        self._heads: dict[tuple[str, str], bytes] = {}

    def __repr__(self) -> str:
        return f"<HopClient {self._host} {'open' if self._socket else 'closed'}>"

    def post(self, path: str, pieces: list[Buffer], media_type: str = MEDIA_TYPE) -> tuple[int, dict[str, str]]:
        """Post *pieces* as one body; returns (status, headers).

        A kept connection that the peer closed meanwhile is opened again, once. Raises Disconnected.
        """
        size = total(pieces)
        head = self._head(path, media_type) + b"%d\r\n\r\n" % size
        whole, size = [head, *pieces], size + len(head)
        if self._socket is not None:
            try:
                return self._exchange(self._socket, whole, size)
            except Disconnected:
                self.close()
        return self._exchange(self._connect(), whole, size)

    def _exchange(self, sock: socket.socket, pieces: list[Buffer], size: int) -> tuple[int, dict[str, str]]:
        try:
            send_all(sock, pieces, size)
            status, headers, _, keep = read_answer(sock)
        except Disconnected:
            self.close()
            raise
        if not keep:
            self.close()
        return status, headers

    def _connect(self) -> socket.socket:
        try:
            sock = socket.create_connection(self._address, timeout=CONNECT_S)
        except OSError as error:
            raise Disconnected(f"{self._host}: {error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_silence(sock, ANSWER_S)
        self._socket = sock
        return sock

    def _head(self, path: str, media_type: str) -> bytes:
        head = self._heads.get((path, media_type))
        if head is None:
            text = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\n{self._token}Content-Type: {media_type}\r\n"
            head = self._heads[path, media_type] = (text + "Content-Length: ").encode("latin-1")
        return head

    def close(self) -> None:
        """Close the connection; the next post opens one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
