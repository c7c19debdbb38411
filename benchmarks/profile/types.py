"""What handler types cost: each in a process of its own, one at a time."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import wait
from typing import Any

from benchmarks.common import ROOT
from benchmarks.profile.child import Task, measure
from benchmarks.profile.inputs import SIZES, VGA
from node.processes.launcher import Launcher
from wire.resources import HandlerTypeSpec

TX = 0
PATIENCE_S = 300.0  # for all frames of one type
END_S = 10.0  # for a process that has told its figures


class Gone(Exception):
    """A measuring process ended, or said nothing for PATIENCE_S."""


class Types:
    """Measures handler types."""

    def __init__(self, *, quick: bool) -> None:
        self._sizes = (VGA,) if quick else SIZES
        self._least, self._budget_s = (3, 0.0) if quick else (Task.least, Task.budget_s)
        self._launcher = Launcher()
        self._launcher.start()

    def cost(self, spec: HandlerTypeSpec, variations: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the figures of a type and of its *variations*, or {"unavailable": reason}."""
        with _receiver() as url:
            own = {"url": url} if spec.handler_type == TX else {}
            found = self._run(spec, own, self._sizes)
            if "unavailable" in found:
                return found
            tried = [(params, self._run(spec, own | params, (VGA,))) for params in variations]
        figures = {**_at_vga(found), "ms_by_size": found["ms_by_size"], "figures": found}
        figures["variations"] = [{"params": p, **_at_vga(f)} for p, f in tried if "unavailable" not in f]
        return figures

    def _run(self, spec: HandlerTypeSpec, params: dict[str, Any], sizes: tuple[str, ...]) -> dict[str, Any]:
        task = Task(
            class_name=spec.class_name,
            params=spec.params | params,
            sizes=sizes,
            model_path=str(ROOT / "models"),
            gallery_path=str(ROOT / "samples" / "gallery"),
            least=self._least,
            budget_s=self._budget_s,
        )
        child = self._launcher.launch(f"profile:{spec.name}", measure, (task,))
        try:
            if not wait([child.pipe, child.ended], PATIENCE_S) or not child.pipe.poll():
                raise Gone(f"{spec.name}: no figures from its process")
            found: dict[str, Any] = child.pipe.recv()
            return found
        except EOFError as error:
            raise Gone(f"{spec.name}: its process ended") from error
        finally:
            wait([child.ended], END_S)  # it removes its folder
            child.kill()
            self._launcher.reap(child)

    def close(self) -> None:
        """End the fork server."""
        self._launcher.stop()


def _at_vga(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a profile: those of VGA frames."""
    return {
        "ms": found["ms_by_size"][VGA],
        "cpu_ms": found["cpu_ms_by_size"][VGA],
        "mem_mb": found["mem_mb_by_size"][VGA],
        "output_bytes": found["output_bytes_by_size"][VGA],
        "load_ms": found["load_ms"],
        "loaded_mb": found["loaded_mb"],
    }


class _Accepting(BaseHTTPRequestHandler):
    """Takes every post: what Tx sends to."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body and answer 202."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def _receiver() -> Iterator[str]:
    """Listen on loopback for the length of the block; yields the URL to post to."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
