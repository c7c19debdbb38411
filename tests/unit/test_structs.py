"""Two threads that decode a type for the first time at once must not crash the process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import json, sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from wire import structs
from wire.messages import Heartbeat, Report
structs.learn()
row = {"timestamp": 1.0, "session_id": 1, "handler_id": 1, "sequence": 1, "event": "start"}
body = json.dumps({"node_id": 1, "boot_id": "x", "report_id": 1, "packet_info": [row] * 50}).encode()
together = threading.Barrier(8)

def decode():
    together.wait()
    for _ in range(20):
        msgspec.json.decode(body, type=Report)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_first_decoding_in_several_threads_is_safe_once_learnt() -> None:
    """Without learn() nearly every run of this ends with SIGSEGV (msgspec 0.22)."""
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_every_daemon_and_the_client_learn_first() -> None:
    for place in (
        "node/daemon.py",
        "node/gateway/main.py",
        "node/worker/main.py",
        "wire/serving.py",
        "client/face_client.py",
    ):
        assert "structs.learn()" in (ROOT / place).read_text(encoding="utf-8"), place
