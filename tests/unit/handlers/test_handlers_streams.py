"""Capture from the network: RTSP and MJPEG cameras that go away and come back with another size; hosts not allowed."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlers import sources
from handlers.base import Context, FrameError, Unavailable, read_params
from handlers.capture import CaptureHandler, CaptureParams
from tests.handler_support import Make
from tests.unit.handlers.rtsp_camera import RtspCamera, serve

SIZES = [(48, 64), (64, 128)]  # (H, W) of the pictures of the first and of all later connections


class Camera(ThreadingHTTPServer):
    """Sends a few pictures per connection, then hangs up. /elsewhere leads to /."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Film)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Film(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = SIZES[min(len(self.server.asked), len(SIZES)) - 1]
        jpeg = cv2.imencode(".jpg", np.full((*size, 3), 90, np.uint8))[1].tobytes()
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(ConnectionError):
            for _ in range(15):
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(b"Content-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg))
                time.sleep(0.02)  # the camera's own pace

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[Camera]:
    with Camera() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    with RtspCamera(SIZES) as made:
        serve(made)
        yield made
        made.shutdown()


@pytest.mark.parametrize("kind", ["rtsp", "mjpeg"])
def test_a_camera_that_comes_back_may_have_another_size(
    make: Make, camera: Camera, rtsp: RtspCamera, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sources, "FIRST_DELAY_S", 0.02)
    capture = make(CaptureHandler, source=rtsp.url if kind == "rtsp" else camera.url())
    seen: list[tuple[int, ...]] = []
    deadline = time.monotonic() + 20
    while len(set(seen)) < len(SIZES) and time.monotonic() < deadline:
        with suppress(FrameError):  # it is away just now
            seen.append(capture.read().shape)
    assert sorted(set(seen), key=seen.index) == [(*size, 3) for size in SIZES]


def test_a_changed_size_is_scaled_to_the_size_asked_for(
    make: Make, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FIRST_DELAY_S", 0.02)
    capture = make(CaptureHandler, source=camera.url(), width=32, height=24)
    shapes = set()
    deadline = time.monotonic() + 20
    while len(camera.asked) < 3 and time.monotonic() < deadline:
        with suppress(FrameError):
            shapes.add(capture.read().shape)
    assert shapes == {(24, 32, 3)} and len(camera.asked) >= 3


def test_a_redirect_leads_nowhere(make: Make, camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is allowed cannot send the node to one that is not."""
    monkeypatch.setattr("handlers.capture.PATIENCE_S", 1.0)
    capture = make(CaptureHandler, source=camera.url("/elsewhere"))
    with pytest.raises(FrameError, match="no picture"):
        capture.read()
    assert set(camera.asked) == {"/elsewhere"}


@pytest.mark.parametrize("url", ["rtsp://u:secret@10.0.0.7/1", "http://169.254.169.254/latest", "rtsp://[::1]/"])
def test_a_host_that_is_not_allowed_is_named_and_not_asked(url: str) -> None:
    params = read_params(CaptureHandler, {"source": url})
    assert isinstance(params, CaptureParams)
    capture = CaptureHandler(params, Context(Path(), allowed_hosts=frozenset({"camera.lan"})))
    with pytest.raises(Unavailable, match=r"capture may not reach .* allowed_hosts") as refused:
        capture.prepare()
    assert "secret" not in str(refused.value)
