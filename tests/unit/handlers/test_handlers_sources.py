"""Capture: files end in order and at their pace, live sources come back with whatever size they then have."""

import itertools
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlers import capture as capture_module
from handlers import sources
from handlers.base import EndOfSource, FrameError, Unavailable
from handlers.capture import CaptureHandler
from handlers.sources import Camera, LiveReader, Pace, Pictures, Stream, Video, understand
from handlers.types import Image
from tests.handler_support import SAMPLES, Make


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Return a video of 12 frames at 20 frames/s, each a shade lighter than the one before."""
    path = tmp_path / "steps.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    for step in range(12):
        writer.write(np.full((48, 64, 3), step * 20, np.uint8))
    writer.release()
    return path


def read_all(capture: CaptureHandler) -> list[Image]:
    frames = []
    with pytest.raises(EndOfSource):
        while True:
            frames.append(capture.read())
    return frames


def test_a_video_gives_every_frame_in_order_and_then_ends(make: Make, video: Path) -> None:
    frames = read_all(make(CaptureHandler, source=str(video), fps=0))
    means = [float(f.mean()) for f in frames]
    assert len(frames) == 12 and means == sorted(means) and frames[0].shape == (48, 64, 3)


@pytest.mark.parametrize(("fps", "seconds"), [(None, 11 / 20), (100.0, 11 / 100)])
def test_a_video_keeps_its_own_pace_or_the_one_asked_for(
    make: Make, video: Path, fps: float | None, seconds: float
) -> None:
    capture = make(CaptureHandler, source=str(video), fps=fps)
    start = time.monotonic()
    read_all(capture)
    assert seconds * 0.9 < time.monotonic() - start < seconds + 1.0


def test_picture_files_come_by_name_and_bad_ones_are_skipped(make: Make, tmp_path: Path) -> None:
    for index in (3, 1, 2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((10, 10 * index, 3), 9, np.uint8))
    (tmp_path / "2b.png").write_bytes(b"broken")
    frames = read_all(make(CaptureHandler, source=str(tmp_path / "*.png")))
    assert [f.shape[1] for f in frames] == [10, 20, 30]


def test_frames_are_scaled_to_the_size_asked_for(make: Make) -> None:
    source = str(SAMPLES / "photos/obama2.jpg")
    assert read_all(make(CaptureHandler, source=source, width=100, height=50))[0].shape == (50, 100, 3)
    assert read_all(make(CaptureHandler, source=source, height=320))[0].shape == (320, 167, 3)


def test_sources_are_understood_by_what_they_are(video: Path) -> None:
    assert understand(2) == understand("2") == Camera(2)
    assert understand("rtsp://u:secret@camera/1") == Stream("rtsp://u:secret@camera/1")
    assert "secret" not in repr(understand("rtsp://u:secret@camera/1"))
    assert understand(str(video)) == Video(video)
    assert isinstance(understand(str(SAMPLES / "photos/*.jpg")), Pictures)


@pytest.mark.parametrize(
    "source", ["/no/such/file.mp4", "/no/such/*.jpg", "file:///etc/passwd", "concat:a|b", "gopher://x/"]
)
def test_what_is_no_source_is_refused_by_name(make: Make, source: str) -> None:
    with pytest.raises(Unavailable, match="source"):
        make(CaptureHandler, source=source)


def test_a_file_that_is_no_video_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(Unavailable, match="no video"):
        make(CaptureHandler, source=str(tmp_path / "text.mp4"))


def test_a_live_source_that_goes_away_is_opened_again(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands for the camera: it 'goes away' after 12 frames; the second attempt finds nothing."""
    monkeypatch.setattr(sources, "FIRST_DELAY_S", 0.02)
    opened = itertools.count()

    def opener() -> cv2.VideoCapture:
        return cv2.VideoCapture("/no/such/camera.avi" if next(opened) == 1 else str(video))

    stopped = threading.Event()
    reader = LiveReader(opener, "test", stopped)
    frames = 0
    deadline = time.monotonic() + 10
    while next(opened) < 6 and time.monotonic() < deadline:
        frames += reader.take(1.0) is not None
    stopped.set()
    reader.join(5)
    assert frames > 0 and time.monotonic() < deadline


def test_only_the_newest_frame_of_a_live_source_is_kept() -> None:
    stopped = threading.Event()
    reader = LiveReader(lambda: cv2.VideoCapture("/no/such/camera.avi"), "test", stopped)
    for value in (1, 2, 3):
        reader._put(np.full((1, 1, 3), value, np.uint8))
    frame = reader.take(1.0)
    assert frame is not None and frame[0, 0, 0] == 3 and reader.dropped == 2
    assert reader.take(0.01) is None
    stopped.set()
    reader.join(5)


def test_finishing_wakes_a_reader_that_waits_for_a_camera(make: Make) -> None:
    capture = make(CaptureHandler, source=99)
    threading.Timer(0.2, capture.finish).start()
    start = time.monotonic()
    with pytest.raises(EndOfSource):
        capture.read()
    assert time.monotonic() - start < 3


def test_a_camera_that_is_away_is_no_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "PATIENCE_S", 0.05)
    capture = make(CaptureHandler, source=99)
    for _ in range(2):
        with pytest.raises(FrameError, match="no picture"):
            capture.read()


def test_a_pace_that_fell_behind_does_not_rush_for_ever() -> None:
    pace = Pace(1000.0, threading.Event())
    pace._due -= 60.0
    pace.wait()
    assert pace._due > time.monotonic() - sources.CATCH_UP_S - 0.1
