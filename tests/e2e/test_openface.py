"""OpenFace's whole path on a node, with a small network of its format: its own weights are in no package."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import requests

from tests.conftest import StartDaemon
from tests.daemons import ROOT
from tests.integration.mariadb import free_port
from tests.unit.handlers.torch_file import small_network

MODULE = '''
"""OpenfaceRecognizeHandler whose manifest has one model more."""

from handlers import manifest
from handlers.manifest import Model
from handlers.openface_recognize import OpenfaceRecognizeHandler

manifest.manifest().models.append(Model(
    id="small", file="small.t7", bytes={size}, sha256="{sha256}", licence="none", sources=[]))


class SmallOpenface(OpenfaceRecognizeHandler):
    pass
'''
NODE = """
[node solo]
node_id = 5
node_port = 0
data_port = 0
coordinator_url = http://127.0.0.1:9
handler_type_path = {folder}/handlers
model_path = {folder}/models
gallery_path = {root}/samples/gallery

[reporter]
enabled = false
"""
LANDMARKS = "shape_predictor_68_face_landmarks.dat"


def test_openface_runs_on_a_node_behind_its_aligner(start_daemon: StartDaemon, tmp_path: Path) -> None:
    if not (ROOT / "models" / LANDMARKS).is_file():
        pytest.skip(f"models/{LANDMARKS} is not there: scripts/setup --models all")
    network = small_network()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / LANDMARKS).symlink_to(ROOT / "models" / LANDMARKS)
    (tmp_path / "models/small.t7").write_bytes(network)
    digest = hashlib.sha256(network).hexdigest()
    (tmp_path / "small_openface.py").write_text(MODULE.format(size=len(network), sha256=digest))
    shutil.copytree(ROOT / "config/handlers", tmp_path / "handlers")
    file = tmp_path / "handlers/14_openface_recognize.json"
    spec = json.loads(file.read_text())
    spec |= {"class": "small_openface:SmallOpenface", "params": spec["params"] | {"model": "small"}}
    file.write_text(json.dumps(spec))
    text = NODE.format(folder=tmp_path, root=ROOT)
    node = start_daemon(text, {"PYTHONPATH": str(tmp_path)}, "solo")

    rows = {h["handler_type"]: h for h in requests.get(f"{node.url}/handlers", timeout=60).json()["handlers"]}
    assert rows[14]["available"], rows[14]
    port = free_port()
    steps = [(1, {"port": port}), (6, {}), (9, {"with_crop": True}), (11, {}), (14, {})]
    handlers = [{"handler_id": n, "handler_type": t, "params": p} for n, (t, p) in enumerate(steps)]
    links = [{"source_handler": n, "target_handler": n + 1} for n in range(len(steps) - 1)]
    for body in (
        {"action": "init", "session_id": 1, "blueprint": {"handlers": handlers, "links": links}},
        {"action": "start", "session_id": 1},
    ):
        assert requests.post(node.url, json=body, timeout=60).json() == {"result": "Succeeded"}
    photo = (ROOT / "samples/photos/obama2.jpg").read_bytes()
    answer = requests.post(f"http://127.0.0.1:{port}/", photo, headers={"Content-Type": "image/jpeg"}, timeout=60)
    assert answer.status_code == 200, answer.text
    (box,) = answer.json()["boxes"]
    assert 0 <= box["distance"] <= 2 and (box["label"] == "unknown") == (box["distance"] > spec["params"]["thresh"])
