"""What a hop between two nodes costs, against raw TCP with acknowledgement and against Flask + requests.

    python3 -m benchmarks.hop [--sizes 60000,921600] [--posts 400] [--rounds 7] [--json FILE]

Sender and receiver are two processes pinned to one core. CPU = user + system time of both, per frame. The ways are
run in turn within each round, and the ratios are taken round by round: the median counts. The product's hop is the
real one: node.transport.hop_link.HopLink sends packets with token and metadata, a few ahead of their answers as a
handler's process does, to the real gateway process, which receives them into shared memory; a reader takes them from
the inbox (its CPU is shown apart, as hand-over).
"""

import argparse
import json
import multiprocessing
import os
import secrets
import shutil
import socket
import statistics
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.common import CORE, cpu
from node.processes import control
from node.processes.control import Attach, Attached, ChildSettings, Ready
from node.reporting.recorder import Recorder
from node.transport.addresses import handler_address, handler_depth, input_path
from node.transport.channel import Channel, sweep
from node.transport.hop import HopClient
from node.transport.hop_link import Attempt, HopLink, Parcel
from node.worker.main import settle
from wire import packet
from wire.credential import Credential
from wire.guard import Access
from wire.messages import Entry, Graph, HandlerSpec, ResultSpec, Route, SessionPlan
from wire.packet import EncodedPart, Header, Span
from wire.tokens import Token, digest

TOKEN = "benchmark"
ACCESS = Access([Token("", digest(TOKEN))], TOKEN)


class Way:
    """A way to bring frames to another process: `post` sends one; it may be taken later, but `settle` waits for it."""

    name = ""

    def __init__(self, size: int) -> None:
        self.size = size
        self.post: Callable[[], None] = lambda: None
        self.settle: Callable[[], None] = lambda: None  # wait until everything posted was taken
        self.receivers: dict[str, int] = {}  # what -> pid

    def close(self) -> None:
        """End the receiver."""


def raw_server(pipe: Connection, size: int) -> None:
    """Receive frames of *size* bytes into one buffer, acknowledge each with a byte."""
    os.sched_setaffinity(0, [CORE])
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    view = memoryview(bytearray(size))
    while True:
        have = 0
        while have < size:
            count = sock.recv_into(view[have:])
            if not count:
                return
            have += count
        sock.send(b"k")


class RawTcp(Way):
    """The floor: a blocking socket and one byte back."""

    name = "raw TCP"

    def __init__(self, size: int) -> None:
        super().__init__(size)
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=raw_server, args=(theirs, size), daemon=True
        )
        self._process.start()
        self._socket = socket.create_connection(("127.0.0.1", ours.recv()))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frame = secrets.token_bytes(size)
        self.post = self._post
        self.receivers = {"receiver": self._process.pid or 0}

    def _post(self) -> None:
        self._socket.sendall(self._frame)
        self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()
        self._process.join(5)


def flask_server(pipe: Connection) -> None:
    """The obvious way: a Flask view on gunicorn's threads that reads the body."""
    os.sched_setaffinity(0, [CORE])
    from flask import Flask, request
    from gunicorn.app.base import BaseApplication

    app = Flask("baseline")

    @app.post("/frame")
    def frame() -> tuple[str, int]:
        return "", (202 if request.headers.get("Authorization") and request.get_data() else 400)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for key, value in {
                "bind": f"fd://{listener.fileno()}",
                "worker_class": "gthread",
                "threads": 4,
                "keepalive": 60,
                "loglevel": "error",
                "post_worker_init": lambda worker: pipe.send((port, worker.pid)),
            }.items():
                self.cfg.set(key, value)

        def load(self) -> Flask:
            return app

    Server().run()


class FlaskRequests(Way):
    """gunicorn + Flask, sent to by requests.Session."""

    name = "Flask + requests"

    def __init__(self, size: int) -> None:
        import requests

        super().__init__(size)
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=flask_server, args=(theirs,))
        self._process.start()
        port, pid = ours.recv()
        session = requests.Session()
        session.trust_env = False
        frame, url = secrets.token_bytes(size), f"http://127.0.0.1:{port}/frame"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": packet.MEDIA_TYPE, "X-Sequence": "1"}

        def post() -> None:
            if session.post(url, data=frame, headers=headers, timeout=10).status_code != 202:
                raise RuntimeError("the baseline refused a frame")

        self.post = post
        self.receivers = {"receiver": pid}

    def close(self) -> None:
        self._process.terminate()
        self._process.join(5)


PORTS = {6: (1, 1)}


def benchmark_plan(url: str, window: int = 64) -> SessionPlan:
    """Return a session of one handler on node 2 whose entry is elsewhere."""
    graph = Graph(handlers=[HandlerSpec(handler_id=0, handler_type=6)])
    return SessionPlan(
        epoch=1,
        accept_from=1,
        graph=graph,
        local=[0],
        routes={0: [Route(node_id=2, url=url)]},
        entry=Entry(node_id=1, url=url, key="k", handler_id=0),
        results=[ResultSpec(handler_id=0)],
        window=window,
    )


def gateway_process(pipe: Connection, listener: socket.socket, settings: ChildSettings) -> None:
    """The product's gateway, pinned."""
    os.sched_setaffinity(0, [CORE])
    from node.gateway.main import run

    run(pipe, listener, settings)


def reader_process(pipe: Connection, settings: ChildSettings) -> None:
    """Take packets from the handler's inbox as a handler's process does, decode them, let them go."""
    settle(settings, pin=True)
    os.sched_setaffinity(0, [CORE])
    channel = Channel(settings.channel_name, Path(settings.run_path))
    plan = benchmark_plan("http://127.0.0.1:1")
    inbox = channel.inbox(handler_address(1, 0, plan.window), handler_depth(plan, 1))
    pipe.send("ready")
    while not pipe.poll(0):
        data = inbox.receive(0.5)
        if data is not None:
            packet.decode(data)
    inbox.close()


class Hop(Way):
    """The product: HopClient to the gateway, into shared memory."""

    name = "hop"

    def __init__(self, size: int) -> None:
        super().__init__(size)
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.mkdtemp(prefix="faceservice-hop-")
        self._name = f"bench{secrets.token_hex(4)}"
        settings = ChildSettings(
            node_id=2,
            channel_name=self._name,
            run_path=self._folder,
            max_frame_bytes=32 << 20,
            access=ACCESS,
            port_counts=PORTS,
            packet_sample=1.0,
        )
        self._reader_pipe, theirs = multiprocessing.Pipe()
        self._reader = context.Process(target=reader_process, args=(theirs, settings), daemon=True)
        self._reader.start()
        self._reader_pipe.recv()
        self._pipe, theirs = multiprocessing.Pipe()
        listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._gateway = context.Process(target=gateway_process, args=(theirs, listener, settings), daemon=True)
        self._gateway.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._await(Ready)
        control.send(self._pipe, Attach(session_id=1, plan=benchmark_plan(url), state="running"))
        self._await(Attached)
        threading.Thread(target=self._drain, daemon=True).start()
        client = HopClient(url, Credential(TOKEN))
        self._link = HopLink(client, 2, Recorder(1.0), insist, lambda node_id: None, lambda epoch: True)
        self._body, self._path, self._sequence = secrets.token_bytes(size), input_path(1, 0, 0), 0
        self.post, self.settle = self._post, self._link.settle
        self.receivers = {"receiver": self._gateway.pid or 0, "hand-over": self._reader.pid or 0}

    def _post(self) -> None:
        self._sequence += 1
        pieces = packet.encode(header(self._sequence, self.size), [self._body])
        self._link.submit(Parcel(self._path, pieces, packet.total(pieces), epoch=1))

    def _await(self, kind: type) -> None:
        while not isinstance(control.receive(self._pipe, control.from_child), kind):
            pass

    def _drain(self) -> None:
        try:
            while True:
                control.receive(self._pipe, control.from_child)
        except (EOFError, OSError):
            return

    def close(self) -> None:
        control.send(self._pipe, control.Shutdown(patience=0.0))
        self._reader_pipe.send("end")
        for process in (self._gateway, self._reader):
            process.join(5)
        sweep(self._name, Path(self._folder))
        shutil.rmtree(self._folder, ignore_errors=True)


def header(sequence: int, size: int) -> Header:
    """Return the header of a frame on its way to handler 0."""
    return Header(
        session_id=1,
        epoch=1,
        sequence=sequence,
        timestamp=1.0,
        origin=1,
        trace=[Span(9, 1, 1.0, 1.0, 1.0, size)],
        payload=EncodedPart(media_type="image/jpeg", buffer=0),
        handler_id=0,
        port=0,
    )


def insist(attempt: Attempt, needed: Callable[[], bool], epoch: int) -> bool:
    """Send until the packet is taken. Raises RuntimeError when it never will be."""
    while (taken := attempt()) is None:
        pass
    if not taken:
        raise RuntimeError("the gateway refused a packet")
    return taken


def one_round(way: Way, posts: int) -> dict[str, float]:
    """Return CPU microseconds per frame: of the sender, of each receiver, and of the hop (sender + receiver)."""
    before = {name: cpu(pid) for name, pid in way.receivers.items()}
    start = cpu(os.getpid())
    for _ in range(posts):
        way.post()
    way.settle()
    figures = {"sender": (cpu(os.getpid()) - start) / posts * 1e6}
    figures |= {name: (cpu(pid) - before[name]) / posts * 1e6 for name, pid in way.receivers.items()}
    figures["hop"] = figures["sender"] + figures["receiver"]
    return figures


def measure(size: int, posts: int, rounds: int) -> dict[str, Any]:
    """Return medians per way, and the ratios of the hop to both others, taken round by round."""
    ways = [RawTcp(size), Hop(size), FlaskRequests(size)]
    try:
        for way in ways:
            one_round(way, max(20, posts // 4))  # warm-up
        table = [{way.name: one_round(way, posts) for way in ways} for _ in range(rounds)]
    finally:
        for way in ways:
            way.close()
    medians = {w.name: {k: statistics.median(r[w.name][k] for r in table) for k in table[0][w.name]} for w in ways}
    return {
        "bytes": size,
        "cpu_us": medians,
        "hop_to_raw": statistics.median(r["hop"]["hop"] / r["raw TCP"]["hop"] for r in table),
        "flask_to_hop": statistics.median(r["Flask + requests"]["hop"] / r["hop"]["hop"] for r in table),
    }


def main() -> None:
    """Measure, print a table, and pass or fail against what is promised at 60 KB."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--sizes", default="60000,921600,6220800", help="bytes per frame, comma-separated")
    parser.add_argument("--posts", type=int, default=400, help="frames per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="write the figures here too")
    options = parser.parse_args()
    os.sched_setaffinity(0, [CORE])
    found = []
    print(f"{'bytes':>9} {'raw µs':>8} {'hop µs':>8} {'+handover':>9} {'Flask µs':>9} {'hop/raw':>8} {'Flask/hop':>9}")
    for size in map(int, options.sizes.split(",")):
        posts = options.posts if size < 1 << 20 else max(20, options.posts // 8)
        row = measure(size, posts, options.rounds)
        found.append(row)
        c = row["cpu_us"]
        print(
            f"{size:9} {c['raw TCP']['hop']:8.1f} {c['hop']['hop']:8.1f} {c['hop']['hand-over']:9.1f} "
            f"{c['Flask + requests']['hop']:9.1f} {row['hop_to_raw']:8.2f} {row['flask_to_hop']:9.2f}"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
