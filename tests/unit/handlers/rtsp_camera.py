"""A small RTSP camera for tests: JPEG pictures over RTP within the RTSP connection (RFC 2326, RFC 2435).

One connection shows PICTURES pictures of one size and hangs up; the next one has the next size.
"""

import socketserver
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress

import cv2
import numpy as np

PICTURES, PERIOD_S = 15, 0.03
FRAGMENT = 1200  # bytes of scan data per RTP packet
JPEG_420, QUANTIZED = 1, 255  # RFC 2435: sampling 4:2:0, tables come with the picture
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:1\r\n"
)


class RtspCamera(socketserver.ThreadingTCPServer):
    """Listens on loopback; *sizes* (H, W) are those of its connections in turn, in multiples of 16."""

    daemon_threads = True

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self.sizes = sizes
        self.plays = 0
        super().__init__(("127.0.0.1", 0), Talk)

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.server_address[1]}/film"


class Talk(socketserver.StreamRequestHandler):
    """Answers requests until PLAY, then sends the film."""

    server: RtspCamera

    def handle(self) -> None:
        with suppress(ConnectionError):
            while request := self._request():
                method, number = request
                self._answer(method, number)
                if method == "PLAY":
                    self._play()
                    return

    def _request(self) -> tuple[str, str] | None:
        """Return the method and the CSeq of the next request, None at the end."""
        lines: list[str] = []
        while (line := self.rfile.readline().decode().strip()) or not lines:
            if not line:
                return None
            lines.append(line)
        headers = dict(line.lower().split(":", 1) for line in lines[1:])
        return lines[0].split()[0], headers["cseq"].strip()

    def _answer(self, method: str, number: str) -> None:
        body = SDP if method == "DESCRIBE" else ""
        described = f"Content-Type: application/sdp\r\nContent-Base: {self.server.url}/\r\n"
        more = {
            "OPTIONS": "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
            "DESCRIBE": f"{described}Content-Length: {len(body)}\r\n",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
        }.get(method, "Session: 1\r\n")
        self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}\r\n{body}".encode())

    def _play(self) -> None:
        size = self.server.sizes[min(self.server.plays, len(self.server.sizes) - 1)]
        self.server.plays += 1
        sequence = 0
        for picture in range(PICTURES):
            jpeg = cv2.imencode(".jpg", np.full((*size, 3), 40 + picture, np.uint8))[1].tobytes()
            for packet in packets(jpeg, size, sequence, round(picture * PERIOD_S * 90_000)):
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += 1
            threading.Event().wait(PERIOD_S)


def packets(jpeg: bytes, size: tuple[int, int], sequence: int, timestamp: int) -> list[bytes]:
    """Return the RTP packets of one picture; timestamp in 1/90,000 s."""
    tables, scan = parts(jpeg)
    made: list[bytes] = []
    for offset in range(0, len(scan), FRAGMENT):
        piece = scan[offset : offset + FRAGMENT]
        last = offset + FRAGMENT >= len(scan)
        head = struct.pack(">BBHII", 0x80, 26 | (0x80 if last else 0), sequence + len(made), timestamp, 7)
        picture = struct.pack(">I4B", offset, JPEG_420, QUANTIZED, size[1] // 8, size[0] // 8)
        quantization = struct.pack(">BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        made.append(head + picture + quantization + piece)
    return made


def parts(jpeg: bytes) -> tuple[bytes, bytes]:
    """Return the quantization tables and the scan of a baseline JPEG with standard Huffman tables."""
    tables, place = b"", 2
    while True:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        content = jpeg[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xDB:  # DQT: a byte of precision and number before each table of 64
            tables += b"".join(content[i + 1 : i + 65] for i in range(0, len(content), 65))
        elif marker == 0xDA:  # SOS: the scan follows, to the end marker
            return tables, jpeg[place:-2]


def serve(camera: RtspCamera) -> None:
    """Serve in a thread of its own until `shutdown`."""
    threading.Thread(target=camera.serve_forever, daemon=True).start()
