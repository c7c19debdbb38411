"""What the words after `run SERVICE` mean."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from client.errors import SourceError
from client.sources import Kind, classify, count, expand, frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder, with a space in its name, of three pictures in two levels and one other file."""
    place = tmp_path / "my photos"
    (place / "inner").mkdir(parents=True)
    for name in ("b.jpg", "a.PNG", "inner/c.jpeg"):
        _, data = cv2.imencode(".png" if name.endswith("PNG") else ".jpg", np.zeros((8, 8, 3), np.uint8))
        (place / name).write_bytes(data.tobytes())
    (place / "notes.txt").write_text("no picture")
    return place


def test_a_folder_is_its_pictures_sorted(folder: Path) -> None:
    found = expand([str(folder)])
    assert [s.name for s in found] == ["a.PNG", "b.jpg", "inner/c.jpeg"]
    assert count(found) == 3
    assert [f.media_type for f in frames(found)] == ["image/png", "image/jpeg", "image/jpeg"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("0", Kind.CAMERA),
        ("rtsp://camera.local/1", Kind.VIDEO),
        ("http://host/x.jpg", Kind.URL),
        ("http://host/clip.mp4?x=1", Kind.VIDEO),
    ],
)
def test_what_is_no_file_is_told_by_its_form(word: str, kind: Kind) -> None:
    assert [s.kind for s in classify(word)] == [kind]


def test_a_file_called_like_a_number_is_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "0").write_bytes(b"\xff\xd8\xff")
    monkeypatch.chdir(folder)
    assert classify("0")[0].kind is Kind.PICTURE


def test_all_bad_sources_are_named_at_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"(?s)missing\.jpg.*empty"):
        expand([str(folder), "missing.jpg", str(tmp_path / "empty")])


def test_the_same_name_twice_gets_two_names(folder: Path) -> None:
    one = str(folder / "b.jpg")
    assert [s.name for s in expand([one, one, one])] == ["b.jpg", "b-2.jpg", "b-3.jpg"]


def test_a_video_gives_every_frame_in_order(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
    for level in range(5):
        writer.write(np.full((24, 32, 3), level * 50, np.uint8))
    writer.release()
    found = list(frames(expand([str(path)])))
    assert [f.name for f in found] == [f"clip.avi#{n:06d}" for n in range(5)]
    greys = [np.mean(np.asarray(cv2.imdecode(np.frombuffer(f.data, np.uint8), 0))) for f in found]
    assert np.allclose(greys, [0, 50, 100, 150, 200], atol=4)


def test_a_broken_video_says_so(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a video")
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        list(frames(expand([str(path)])))
