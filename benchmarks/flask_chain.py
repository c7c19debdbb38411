"""The obvious way to chain services: each a Flask view on gunicorn's threads that posts to the next by requests.

The answer comes back through the chain when its end has the frame, so the chain needs no queues.
"""

import multiprocessing
import socket
import threading
from multiprocessing.connection import Connection
from typing import Any

THREADS = 8  # of each process: as many as the load has frames under way


def serve(pipe: Connection, next_url: str | None) -> None:
    """Target of one link's process: say the port and the worker's pid, then serve for ever."""
    import requests
    from flask import Flask, request
    from gunicorn.app.base import BaseApplication

    app = Flask("baseline")
    local = threading.local()

    def session() -> requests.Session:
        found: requests.Session | None = getattr(local, "session", None)
        if found is None:
            found = local.session = requests.Session()
            found.trust_env = False
        return found

    @app.post("/frame")
    def frame() -> tuple[str, int]:
        body = request.get_data()
        if next_url is None:
            return "", 200
        return "", session().post(next_url, data=body, headers={"Content-Type": "image/jpeg"}, timeout=30).status_code

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    options: dict[str, Any] = {
        "bind": f"fd://{listener.fileno()}",
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": 60,
        "loglevel": "error",
        "post_worker_init": lambda worker: pipe.send((port, worker.pid)),
    }

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for key, value in options.items():
                self.cfg.set(key, value)

        def load(self) -> Flask:
            return app

    Server().run()


class FlaskChain:
    """*hops* + 1 processes, the first at `url`."""

    def __init__(self, hops: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.url: str = ""
        self.pids: list[int] = []
        self._processes = []
        for _ in range(hops + 1):
            ours, theirs = multiprocessing.Pipe()
            process = context.Process(target=serve, args=(theirs, self.url or None))
            process.start()
            self._processes.append(process)
            port, pid = ours.recv()
            self.pids.append(pid)
            self.url = f"http://127.0.0.1:{port}/frame"

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(5)
