"""Track, Motion, Render: numbers that stay, frames that pass; and the handler of the docs, run as its text stands."""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from handlers.base import Context, load_class, read_params
from handlers.motion import MotionHandler
from handlers.render import RenderHandler, can_show
from handlers.track import TrackHandler
from handlers.types import Box, Boxes
from tests.handler_support import ROOT, Make


def person(x: int, y: int = 50, w: int = 20, h: int = 60, label: str = "person") -> Box:
    return Box(label, 0.9, x, y, w, h)


def ids(boxes: Boxes) -> list[int | None]:
    return [b.track_id for b in boxes]


def test_things_keep_their_numbers_and_order_does_not_matter(make: Make) -> None:
    track = make(TrackHandler)
    assert ids(track.execute(Boxes([person(10), person(200)]))) == [1, 2]
    assert ids(track.execute(Boxes([person(204), person(14)]))) == [2, 1]
    assert ids(track.execute(Boxes([person(18), person(400), person(208)]))) == [1, 3, 2]
    assert track.execute(Boxes()) == []


def test_two_that_pass_each_other_are_not_mixed_up(make: Make) -> None:
    """Steady motion is expected: where they meet, each goes on its way."""
    track = make(TrackHandler)
    seen = [ids(track.execute(Boxes([person(10 + 8 * t, 50), person(250 - 8 * t, 58)]))) for t in range(31)]
    assert all(numbers == [1, 2] for numbers in seen)


def test_a_thing_unseen_for_a_while_is_found_where_it_was_going(make: Make) -> None:
    track = make(TrackHandler, max_age=10)
    for t in range(10):
        track.execute(Boxes([person(10 + 10 * t)]))
    for _ in range(8):
        assert track.execute(Boxes()) == []
    assert ids(track.execute(Boxes([person(10 + 10 * 18)]))) == [1]


def test_numbers_end_after_max_age_and_are_not_used_again(make: Make) -> None:
    track = make(TrackHandler, max_age=2)
    track.execute(Boxes([person(10)]))
    for _ in range(3):
        track.execute(Boxes())
    assert ids(track.execute(Boxes([person(10)]))) == [2]


def test_a_fast_small_thing_is_followed_by_distance(make: Make) -> None:
    steps = [Boxes([person(10 + 22 * t, w=20, h=60)]) for t in range(3)]
    near, strict = make(TrackHandler, distance=0.6), make(TrackHandler, distance=0.0)
    assert [ids(near.execute(s)) for s in steps] == [[1], [1], [1]]
    assert [ids(strict.execute(s)) for s in steps] == [[1], [2], [3]]


def test_min_hits_hides_flicker_and_labels_divide(make: Make) -> None:
    track = make(TrackHandler, min_hits=2)
    assert track.execute(Boxes([person(10)])) == []
    assert ids(track.execute(Boxes([person(12)]))) == [1]
    assert ids(make(TrackHandler).execute(Boxes([person(10), person(10, label="dog")]))) == [1, 2]
    names = make(TrackHandler, same_label=False)
    assert ids(names.execute(Boxes([person(10, label="obama")]))) == ids(names.execute(Boxes([person(11)]))) == [1]


def test_boxes_without_sides_harm_nobody(make: Make) -> None:
    track = make(TrackHandler)
    for box in (person(5, w=0, h=0), person(5, w=0, h=0), person(-(10**9), w=10**9)):
        assert len(track.execute(Boxes([box]))) == 1


def test_motion_passes_what_changed(make: Make) -> None:
    motion = make(MotionHandler, threshold=10.0, area=0.01)
    still = np.full((120, 160, 3), 90, np.uint8)
    noisy = (still + np.random.default_rng(1).integers(0, 6, still.shape)).astype(np.uint8)
    moved = still.copy()
    moved[40:60, 40:60] = 200
    assert motion.execute(still) is still
    assert motion.execute(noisy) is None
    assert motion.execute(moved) is moved
    assert motion.execute(moved) is None
    assert motion.execute(still) is still  # against the last that passed, not the last seen
    smaller = still[:60]
    assert motion.execute(smaller) is smaller


def test_motion_passes_a_sign_of_life(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.1, 5.0, 11.0, 12.0])
    monkeypatch.setattr("handlers.motion.time.monotonic", lambda: next(clock))
    motion, still = make(MotionHandler, at_least_every_s=10.0), np.zeros((9, 9, 3), np.uint8)
    assert [motion.execute(still) is still for _ in range(4)] == [True, False, True, False]


def test_render_hands_pictures_on_at_its_pace(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert sys.platform != "linux" or not can_show()
    picture = np.zeros((9, 9, 3), np.uint8)
    assert make(RenderHandler).execute(picture) is picture
    clock = iter(t / 100 for t in range(100))  # 100 pictures a second come in
    monkeypatch.setattr("handlers.render.time.monotonic", lambda: next(clock))
    slow = make(RenderHandler, fps=10.0)
    passed = [i for i in range(100) if slow.execute(picture) is not None]
    assert 9 <= len(passed) <= 11 and all(8 <= b - a <= 12 for a, b in pairwise(passed))


def test_the_handler_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is taken from the page, with the file that names it."""
    page = (ROOT / "docs/handlers.md").read_text().partition("# Your own handler")[2]
    code = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    spec = json.loads(re.findall(r"```json\n(.*?)```", page, re.S)[0])
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "blur.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    cls = load_class(spec["class"])
    assert spec["name"] == cls.__name__
    handler = cls(read_params(cls, spec["params"]), Context(tmp_path))
    handler.prepare()
    picture = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    picture.flags.writeable = False
    blurred = handler.execute(picture, Boxes([Box("face", 1.0, 5, 5, 20, 20)]))
    assert (blurred[30:] == picture[30:]).all() and blurred[5:25, 5:25].std() < picture[5:25, 5:25].std() / 3
