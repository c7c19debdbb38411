"""Where a capture's pictures come from: what a source's name means, its pace, and the newest frame of a live one.

Live sources are read by a thread into one slot; a frame that is not taken in time is replaced and counted:

    camera / stream ──reader thread──▶ one slot, the newest frame ──▶ read()
                        │ lost: close, wait 0.5, 1, 2 ... 30 s, open again
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np

from handlers.hosts import host_of
from handlers.places import files_of
from handlers.types import Image

STREAM_SCHEMES = {"rtsp", "rtsps", "http", "https"}
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
FIRST_DELAY_S, LAST_DELAY_S = 0.5, 30.0  # between attempts to open a live source
CATCH_UP_S = 1.0  # a pace that fell behind makes up for at most so much
PLAIN = (
    "rtsp,mjpeg,mpjpeg,jpeg_pipe,png_pipe,mpegts,mov,matroska,avi,flv,h264,hevc,av1,obu,ivf,m4v,mpeg,mpegvideo,ogg,asf,"
    "gif,apng,nut,mxf,dv,yuv4mpegpipe"
)
OPTIONS_OF_STREAM = {  # of FFmpeg: OpenCV's own wish, and no way to a host or file not allowed
    "rtsp_flags": "prefer_tcp",
    "max_redirects": "0",
    "protocol_whitelist": "http,https,tcp,tls,rtsp,rtsps,rtp,udp",
    "format_whitelist": PLAIN,  # no playlists (HLS, DASH) and no descriptions (SDP): they name other addresses
}
OPTIONS_OF_FILE = {"protocol_whitelist": "file", "format_whitelist": PLAIN}
NETWORK_TIMEOUT_MS = 5000  # to open a stream, and between its frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of this machine."""

    number: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A camera or server in the network."""

    url: str

    def __repr__(self) -> str:
        return f"<Stream {urlsplit(self.url).hostname}>"  # the URL may hold a password


@dataclass(frozen=True, slots=True)
class Video:
    """A video file."""

    path: Path


@dataclass(frozen=True, slots=True)
class Pictures:
    """Picture files, in order of their names."""

    paths: tuple[Path, ...]


def understand(source: int | str, folders: Sequence[Path] | None = None) -> Camera | Stream | Video | Pictures:
    """Return what *source* is: a camera number, a URL, a file, or a pattern of picture files (`*`, `?`, `[...]`).

    Files must lie in *folders*; None: anywhere. Raises Unavailable for what is not there, or not allowed, and for URL
    schemes other than STREAM_SCHEMES.
    """
    if isinstance(source, int) or (source.isascii() and source.isdecimal() and len(source) < 5):
        return Camera(int(source))
    if "://" in source:
        host_of(source, STREAM_SCHEMES, "source")
        return Stream(source)
    paths = files_of(source, folders)
    if paths == [Path(source)] and paths[0].suffix.lower() not in PICTURE_SUFFIXES:
        return Video(paths[0])
    return Pictures(tuple(paths))


def set_ffmpeg_options(options: Mapping[str, str]) -> None:
    """Have OpenCV open streams and files with *options* of FFmpeg from now on, in this process."""
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{name};{value}" for name, value in options.items())


class Pace:
    """Gives frames out at *fps*; 0: as fast as they are asked for."""

    def __init__(self, fps: float, stopped: threading.Event) -> None:
        self._period = 1.0 / fps if fps > 0 else 0.0
        self._due = time.monotonic()
        self._stopped = stopped

    def wait(self) -> None:
        """Wait until the next frame is due, or until stopped."""
        if self._period == 0.0:
            return
        now = time.monotonic()
        if self._due > now:
            self._stopped.wait(self._due - now)
        self._due = max(self._due, now - CATCH_UP_S) + self._period


class LiveReader:
    """Keeps the newest frame of a live source; opens it again, with growing delays, whenever it goes away."""

    def __init__(self, open_source: Callable[[], cv2.VideoCapture], name: str, stopped: threading.Event) -> None:
        self._open = open_source
        self._name = name
        self._stopped = stopped
        self._changed = threading.Condition()
        self._frame: Image | None = None
        self.dropped = 0  # frames that were replaced before they were taken
        self._thread = threading.Thread(target=self._run, name=f"live-{name}", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Image | None:
        """Return a frame not given out before, uint8 (H, W, 3) BGR; None when none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._stopped.is_set(), timeout_s)
            frame, self._frame = self._frame, None
            return frame

    def join(self, timeout_s: float) -> None:
        """Wake who waits for a frame, and wait for the thread to end, after the event was set."""
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        delay = FIRST_DELAY_S
        try:
            while not self._stopped.is_set():
                frames = self._read_until_lost()
                delay = FIRST_DELAY_S if frames else min(delay * 2, LAST_DELAY_S)
                if not self._stopped.is_set():
                    logger.warning("%s gave %d frames and went away; next attempt in %.1f s", self._name, frames, delay)
                    self._stopped.wait(delay)
        except Exception:  # the boundary of a thread
            logger.exception("reader of %s ended", self._name)

    def _read_until_lost(self) -> int:
        """Open the source and read it until it fails or the event is set; return the number of frames."""
        capture, frames = self._open(), 0
        try:
            while not self._stopped.is_set():
                ok, frame = capture.read()
                if not ok:
                    break
                frames += 1
                self._put(np.asarray(frame, np.uint8))
        finally:
            capture.release()
        return frames

    def _put(self, frame: Image) -> None:
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify()
