"""Capture: pictures from a camera, a video file, picture files or a stream."""

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np

from handlers.base import EndOfSource, FrameError, Params, Range, Source, Unavailable
from handlers.hosts import check_host
from handlers.pictures import decode_picture
from handlers.pixels import scale
from handlers.resize import target_size
from handlers.sources import (
    NETWORK_TIMEOUT_MS,
    OPTIONS_OF_FILE,
    OPTIONS_OF_STREAM,
    STREAM_SCHEMES,
    Camera,
    LiveReader,
    Pace,
    Pictures,
    Stream,
    Video,
    set_ffmpeg_options,
    understand,
)
from handlers.types import Image

PATIENCE_S = 4.0  # how long one read waits for a live source: its caller may have to stop meanwhile
END_S = 2.0  # how long finish waits for the reader of a live source

logger = logging.getLogger(__name__)


class CaptureParams(Params, frozen=True):
    """Parameters of handler type 2."""

    source: int | str = 0  # camera number, file, pattern of picture files, rtsp:// or http:// URL
    width: Annotated[int, Range(0, 16_384)] = 0  # pixels; 0: as it comes (or by the height)
    height: Annotated[int, Range(0, 16_384)] = 0  # pixels; 0: as it comes (or by the width)
    fps: Annotated[float, Range(0.0, 1000.0)] | None = None  # frames/s; 0: as fast as possible; null: the source's own


class CaptureHandler(Source[CaptureParams]):
    """Nothing -> Image. Live sources are opened again when they go away; files end with EndOfSource."""

    params_type = CaptureParams
    outputs = (Image,)
    stateful = True

    def prepare(self) -> None:
        """Open the source. Raises Unavailable for a missing file and a host not allowed; a live one may come later."""
        self._stopped = threading.Event()
        self._live: LiveReader | None = None
        self._capture: cv2.VideoCapture | None = None
        source = understand(self.params.source, self.context.source_path)
        if isinstance(source, Stream):
            check_host(source.url, STREAM_SCHEMES, self.context.allowed_hosts, "capture")
        self._next = self._start(source)

    def read(self) -> Image:
        """Return the next picture, uint8 (H, W, 3) BGR.

        Blocks until there is one. Raises EndOfSource after the last, and FrameError when a live source gave none for
        PATIENCE_S: it is away, and the next read waits again.
        """
        self._pace.wait()
        image = None if self._stopped.is_set() else self._next()
        if image is None:
            raise EndOfSource
        height, width = image.shape[:2]
        return scale(image, *target_size(width, height, self.params.width, self.params.height))

    def finish(self) -> None:
        """Close the source; a reader that waits returns with EndOfSource."""
        self._stopped.set()
        if self._live is not None:
            self._live.join(END_S)
        if self._capture is not None:
            self._capture.release()

    def _start(self, source: Camera | Stream | Video | Pictures) -> Callable[[], Image | None]:
        """Return the function that gives the next picture, or None at the end; sets the pace."""
        own_fps = 0.0
        following: Callable[[], Image | None] = self._next_of_live
        if isinstance(source, Pictures):
            following = partial(_next_picture, iter(source.paths))
        elif isinstance(source, Video):
            set_ffmpeg_options(OPTIONS_OF_FILE)
            self._capture = cv2.VideoCapture(str(source.path))
            if not self._capture.isOpened():
                raise Unavailable(f"source {str(source.path)!r} is no video that OpenCV can read")
            own_fps = self._capture.get(cv2.CAP_PROP_FPS)
            following = self._next_of_file
        else:
            opener = self._camera(source) if isinstance(source, Camera) else _stream(source)
            self._live = LiveReader(opener, repr(source), self._stopped)
        self._pace = Pace(own_fps if self.params.fps is None else self.params.fps, self._stopped)
        return following

    def _next_of_file(self) -> Image | None:
        ok, frame = self._capture.read() if self._capture else (False, None)
        return np.asarray(frame, np.uint8) if ok else None

    def _next_of_live(self) -> Image | None:
        frame = self._live.take(PATIENCE_S) if self._live is not None else None
        if frame is None and not self._stopped.is_set():
            raise FrameError(f"no picture for {PATIENCE_S:.0f} s")
        return frame

    def _camera(self, camera: Camera) -> Callable[[], cv2.VideoCapture]:
        """Return what opens *camera*, asked for the wanted size and rate (it may give another)."""
        p = self.params
        wishes = {cv2.CAP_PROP_FRAME_WIDTH: p.width, cv2.CAP_PROP_FRAME_HEIGHT: p.height, cv2.CAP_PROP_FPS: p.fps}

        def opener() -> cv2.VideoCapture:
            capture = cv2.VideoCapture(camera.number)
            for what, value in wishes.items():
                if value:
                    capture.set(what, value)
            return capture

        return opener


def _stream(stream: Stream) -> Callable[[], cv2.VideoCapture]:
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
    set_ffmpeg_options(OPTIONS_OF_STREAM)
    return lambda: cv2.VideoCapture(stream.url, cv2.CAP_FFMPEG, limits)


def _next_picture(paths: Iterator[Path]) -> Image | None:
    """Return the next picture that can be read; None after the last."""
    return next((image for image in map(_load, paths) if image is not None), None)


def _load(path: Path) -> Image | None:
    """Return the picture in the file, or None, logged, when it is none."""
    try:
        return decode_picture(path.read_bytes())
    except (OSError, FrameError) as error:
        logger.warning("picture %s is skipped: %s", path, error)
        return None
