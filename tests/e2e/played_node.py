"""A node as the coordinator sees it: a real HTTP server with the agent's API, heartbeats by request or by itself."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

ALL_TYPES = {0, 1, 2, 4, 5, 6, 8, 9, 13, 16, 17}


class PlayedNode:
    """plans: session_id -> the last plan put; calls: (method, path) in order. Refuses plans as `refuse` says."""

    def __init__(
        self, coordinator: str, node_id: int, *, cpu_util: float = 0.0, lacks: dict[int, str] | None = None
    ) -> None:
        self.coordinator, self.node_id, self.cpu_util, self.lacks = coordinator, node_id, cpu_util, lacks or {}
        self.boot_id, self.data_url = f"boot-{node_id}-a", f"http://127.0.0.1:{20000 + node_id}"
        self.plans: dict[int, dict[str, Any]] = {}
        self.states: dict[int, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.refuse: tuple[int, dict[str, Any]] | None = None
        self.final_books: dict[str, Any] = {}  # what it says when it hands an entry over
        self.extra: dict[int, dict[str, Any]] = {}  # session_id -> members of its report
        self._quiet = threading.Event()
        self._server = _serve(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._beater = threading.Thread(target=self._beat, daemon=True)

    def beat(self, **changes: Any) -> requests.Response:
        """Send one heartbeat and return the answer."""
        url = f"{self.coordinator}/nodes/{self.node_id}/heartbeat"
        return requests.post(url, json=self.heartbeat() | changes, timeout=5)

    def heartbeat(self) -> dict[str, Any]:
        types = sorted(ALL_TYPES)
        return {
            "node_id": self.node_id,
            "node_name": f"played-{self.node_id}",
            "boot_id": self.boot_id,
            "control_url": self.url,
            "data_url": self.data_url,
            "labels": [f"n{self.node_id}"],
            "handlers": [
                {"handler_type": t, "name": f"type {t}", "available": t not in self.lacks, "reason": self.lacks.get(t)}
                for t in types
            ],
            "hardware": {"cpus": 4, "mem_total": 16000},
            "load": {"cpu_util": self.cpu_util, "mem_util": 10.0},
            "sessions": [self._report(i) for i in list(self.plans)],
            "timestamp": 1.0,
        }

    def live(self) -> "PlayedNode":
        """Send heartbeats from now on, until die()."""
        self.beat().raise_for_status()
        self._beater.start()
        return self

    def die(self) -> None:
        """Be gone: no heartbeat, no connection."""
        self._quiet.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Do what an agent does with a call."""
        if path == "/healthz":
            return 200, {"status": "alive"}
        self.calls.append((method, path))
        session_id, _, order = path.removeprefix("/sessions/").partition("/")
        if method == "PUT" and self.refuse:
            return self.refuse
        if method == "PUT":
            self.plans[int(session_id)] = body
            self.states.setdefault(int(session_id), "initialized")
        elif method == "DELETE":
            self.plans.pop(int(session_id), None)
        elif order == "handover":
            return 200, self._report(int(session_id)) | {"books": self.final_books}
        else:
            self.states[int(session_id)] = {"start": "running", "stop": "stopped"}[order]
        return 200, {}

    def _report(self, session_id: int) -> dict[str, Any]:
        plan = self.plans[session_id]
        entry = plan["entry"]["node_id"] == self.node_id
        report = {"session_id": session_id, "epoch": plan["epoch"], "state": self.states[session_id], "entry": entry}
        return report | self.extra.get(session_id, {})

    def _beat(self) -> None:
        while not self._quiet.wait(0.2):
            with contextlib.suppress(requests.ConnectionError):  # the coordinator is being restarted
                self.beat()


def _serve(node: PlayedNode) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = node.answer(self.command, self.path, json.loads(data) if data else None)
            answer = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_DELETE = _any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
