"""scripts/profile on one light type and one variant, with a few pictures: what it would write, and that it does not."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.daemons import ROOT

LABELS = """<dataset><images><image file='two.jpg'>
<box left='92' top='52' width='140' height='177'/><box left='411' top='78' width='134' height='171'/>
</image></images></dataset>"""  # where the faces of the sample are
PORTRAITS = {"obama": ("photos/obama2.jpg", "photos/obama3.jpg"), "biden": ("photos/biden2.jpg",)}
MODELS = ("face_detection_yunet_2023mar_int8bq.onnx", "face_recognition_sface_2021dec_int8bq.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as that with the labelled pictures, made of samples."""
    folder = tmp_path / "data"
    (folder / "dlib_faces").mkdir(parents=True)
    (folder / "dlib_faces/testing.xml").write_text(LABELS)
    shutil.copy(ROOT / "samples/photos/obama_and_biden.jpg", folder / "dlib_faces/two.jpg")
    for person, pictures in PORTRAITS.items():
        (folder / "johns" / person).mkdir(parents=True)
        for picture in pictures:
            shutil.copy(ROOT / "samples" / picture, folder / "johns" / person)
    return folder


@pytest.mark.timeout(420)  # some 12 s alone
def test_it_measures_and_shows_what_it_would_write(tmp_path: Path, data: Path) -> None:
    """Through real daemons; the repository stays as it is, and a second run measures nothing again."""
    if not all((ROOT / "models" / name).is_file() for name in MODELS):
        pytest.skip("models/ lacks YuNet or SFace: scripts/setup")
    results = tmp_path / "profile.json"
    command = [str(ROOT / "scripts/profile"), "--quick", "--handlers", "DrawBoxes", "--services"]
    command += ["face_recognition/yunet_sface", "--data", str(data), "--results", str(results)]
    watched = [*(ROOT / "config").glob("*/*.json"), ROOT / "docs/handlers.md"]
    before = {path: path.read_bytes() for path in watched}
    first = subprocess.run(command, capture_output=True, text=True, timeout=200, env={**os.environ, "COLUMNS": "200"})
    assert first.returncode == 0, first.stderr
    parts = json.loads(results.read_text())
    assert parts.keys() == {
        "handler 16",
        "cost face_recognition/yunet_sface",
        "accuracy face_recognition/yunet_sface",
    }
    accuracy = parts["accuracy face_recognition/yunet_sface"]
    assert [accuracy[n] for n in ("recall", "precision", "pair_accuracy", "nearest")] == [1, 1, 1, 1]
    assert parts["cost face_recognition/yunet_sface"]["cpu_ms"] > 0
    assert parts["handler 16"]["output_bytes"][0] > 640 * 480 * 3
    added = [line for line in first.stdout.splitlines() if line.startswith("+")]
    assert {"+++ b/config/handlers/16_draw_boxes.json", "+++ b/config/services/face_recognition.json"} <= set(added)
    assert any(line.startswith("+| face_recognition | yunet_sface | 1 | 1.000 | 1.000 | 1.000 |") for line in added)
    assert {path: path.read_bytes() for path in watched} == before
    kept = results.stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert results.stat().st_mtime_ns == kept
