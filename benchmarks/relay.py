"""What a handler's process adds to the hops before and after it, and the hop itself (see benchmarks.hop).

    sender ─hop─▶ gateway A ─▶ handler's process (echo) ─hop─▶ gateway B ─▶ reader

All pinned to one core. The CPU of sender, gateway A, handler's process and gateway B, less that of two plain hops
measured in the same round, is what the hand-over to the handler's process and its hand-over to the next sender cost.
"""

import contextlib
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
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks import hop
from benchmarks.cluster import ECHO, SINK
from benchmarks.common import CORE, Outcome, Row, Say, Scale, cpu, median_of
from node.processes import control
from node.processes.control import Attach, Attached, ChildSettings, Configure, HandlerSettings, Ready, Shutdown
from node.processes.progress import ProgressFile, progress_path
from node.reporting.recorder import Recorder
from node.transport.addresses import handler_address, handler_depth, input_path
from node.transport.channel import Channel, sweep
from node.transport.hop import HopClient
from node.transport.hop_link import HopLink, Parcel
from node.worker.main import settle
from wire import packet
from wire.credential import Credential
from wire.messages import Entry, Graph, HandlerSpec, Link, ResultSpec, Route, SessionPlan

PORTS = {ECHO: (1, 1), SINK: (1, 0)}
UNDER_WAY, WINDOW = 4, 64
PATIENCE_S = 20.0
HOP_TO_RAW = {60_000: 2.5, 921_600: 1.8, 6_220_800: 1.2}
ADDED_US = 60.0
RELAYED = (60_000, 921_600)


def relay_plan(local: int, urls: dict[int, str]) -> SessionPlan:
    """Return echo (handler 0, node 2) -> sink (handler 1, node 3) as the node of handler *local* holds it."""
    return SessionPlan(
        epoch=1,
        accept_from=1,
        graph=Graph(
            handlers=[HandlerSpec(handler_id=0, handler_type=ECHO), HandlerSpec(handler_id=1, handler_type=SINK)],
            links=[Link(source_handler=0, target_handler=1)],
        ),
        local=[local],
        routes={0: [Route(node_id=2, url=urls[0])], 1: [Route(node_id=3, url=urls[1])]},
        entry=Entry(node_id=1, url=urls[0], key="k", handler_id=0),
        results=[ResultSpec(handler_id=1)],
        window=WINDOW,
    )


def worker_process(pipe: Connection, settings: ChildSettings, spec: HandlerSettings) -> None:
    """The product's process of a handler, pinned."""
    os.sched_setaffinity(0, [CORE])
    from node.worker.main import run

    run(pipe, settings, spec)


def reader_process(pipe: Connection, settings: ChildSettings, plan: SessionPlan, taken: Any) -> None:
    """Take packets at the end, count them."""
    settle(settings, pin=True)
    os.sched_setaffinity(0, [CORE])
    inbox = Channel(settings.channel_name, Path(settings.run_path)).inbox(
        handler_address(1, 1, plan.window), handler_depth(plan, 1)
    )
    pipe.send("ready")
    while not pipe.poll(0):
        data = inbox.receive(0.5)
        if data is not None:
            packet.decode(data)
            taken.release()
    inbox.close()


class Side:
    """One node's part: its folder, its gateway, and one more process."""

    def __init__(self, node_id: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faceservice-relay-"))
        self.settings = ChildSettings(
            node_id=node_id,
            channel_name=f"bench{secrets.token_hex(4)}",
            run_path=str(self.folder),
            max_frame_bytes=32 << 20,
            access=hop.ACCESS,
            cpus=[CORE],
            port_counts=PORTS,
            packet_sample=1.0,
        )
        self._started: list[tuple[Connection, BaseProcess]] = []
        listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.pipe, self.gateway = self.start(hop.gateway_process, listener, self.settings)

    def start(self, target: Any, *args: Any) -> tuple[Connection, int]:
        """Start a process of this node; returns our end of its pipe, and its pid."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, *args), daemon=True)
        process.start()
        self._started.append((ours, process))
        return ours, process.pid or 0

    def attach(self, plan: SessionPlan) -> None:
        """Have the gateway hold the session."""
        until(self.pipe, Ready)
        control.send(self.pipe, Attach(session_id=1, plan=plan, state="running"))
        until(self.pipe, Attached)
        threading.Thread(target=drain, args=(self.pipe,), daemon=True).start()

    def close(self) -> None:
        """End all processes."""
        for pipe, process in self._started:
            with contextlib.suppress(OSError):
                control.send(pipe, Shutdown(patience=0.0))
            process.join(5)
        sweep(self.settings.channel_name, self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def until(pipe: Connection, kind: type) -> None:
    """Receive until a message of *kind* comes. Raises TimeoutError."""
    while pipe.poll(PATIENCE_S):
        if isinstance(control.receive(pipe, control.from_child), kind):
            return
    raise TimeoutError(f"no {kind.__name__} from a child")


def drain(pipe: Connection) -> None:
    """Take what a child tells, unread, until it ends."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.recv_bytes()


class Relay(hop.Way):
    """Two gateways with a handler's process between them."""

    name = "relay"

    def __init__(self, size: int, worker: Callable[..., None] = worker_process) -> None:
        super().__init__(size)
        self._first, self._second = Side(2), Side(3)
        urls = {0: self._first.url, 1: self._second.url}
        plans = [relay_plan(handler, urls) for handler in (0, 1)]
        self._taken = multiprocessing.get_context("spawn").Semaphore(0)
        reader_pipe, _ = self._second.start(reader_process, self._second.settings, plans[1], self._taken)
        if not reader_pipe.poll(PATIENCE_S):
            raise TimeoutError("the reader does not start")
        for side, plan in zip((self._first, self._second), plans, strict=True):
            side.attach(plan)
        pid = self._start_worker(worker, plans[0])
        self.receivers = {"gateway A": self._first.gateway, "handler": pid, "gateway B": self._second.gateway}
        client = HopClient(self._first.url, Credential(hop.TOKEN))
        self._link = HopLink(client, 2, Recorder(1.0), hop.insist, lambda node_id: None, lambda epoch: True)
        self._body = secrets.token_bytes(size)
        self._sequence = 0
        self.post, self.settle = self._post, self._link.settle

    def _start_worker(self, worker: Callable[..., None], plan: SessionPlan) -> int:
        settings = self._first.settings
        ProgressFile(progress_path(settings.run_path, 1, 0), create=True)
        spec = HandlerSettings(
            session_id=1,
            handler_id=0,
            class_name="benchmarks.handlers:EchoHandler",
            params={},
            model_path=str(self._first.folder),
            gallery_path=None,
        )
        pipe, pid = self._first.start(worker, settings, spec)
        control.send(pipe, Configure(plan=plan, running=True))
        until(pipe, Ready)
        threading.Thread(target=drain, args=(pipe,), daemon=True).start()
        return pid

    def _post(self) -> None:
        if self._sequence >= UNDER_WAY and not self._taken.acquire(timeout=PATIENCE_S):
            raise TimeoutError("frames do not come through the handler")
        self._sequence += 1
        pieces = packet.encode(hop.header(self._sequence, self.size), [self._body])
        self._link.submit(Parcel(input_path(1, 0, 0), pieces, packet.total(pieces), epoch=1))

    def close(self) -> None:
        self._first.close()
        self._second.close()


def one_round(way: hop.Way, posts: int) -> dict[str, float]:
    """Return CPU microseconds per frame of sender and receivers, and their sum."""
    pids = {"sender": os.getpid()} | way.receivers
    before = {name: cpu(pid) for name, pid in pids.items()}
    for _ in range(posts):
        way.post()
    way.settle()
    figures = {name: (cpu(pid) - before[name]) / posts * 1e6 for name, pid in pids.items()}
    return figures | {"sum": sum(value for name, value in figures.items() if name != "hand-over")}


def measure(size: int, posts: int, rounds: int) -> dict[str, Any]:
    """Return medians of both ways, run in turn, and what the handler's process adds, round by round."""
    ways = {"hop": hop.Hop(size), "relay": Relay(size)}
    try:
        for way in ways.values():
            one_round(way, posts)  # warm-up
        table = [{name: one_round(way, posts) for name, way in ways.items()} for _ in range(rounds)]
    finally:
        for way in ways.values():
            way.close()
    found: dict[str, Any] = {name: median_of([r[name] for r in table]) for name in ways}
    found["added_us"] = statistics.median(r["relay"]["sum"] - 2 * r["hop"]["sum"] for r in table)
    found["handler_less_sender_us"] = statistics.median(r["relay"]["handler"] - r["hop"]["sender"] for r in table)
    return found


def run(scale: Scale, say: Say) -> Outcome:
    """Measure the hop by itself at three sizes, and the hand-over at two."""
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [CORE])
    rows, figures = [], {}
    try:
        for size, limit in HOP_TO_RAW.items():
            posts = scale.pick(400, 200) if size < 1 << 20 else scale.pick(60, 30)
            found = figures[f"hop, {size} B"] = hop.measure(size, posts, scale.rounds + 2)
            rows.append(_hop_row(size, limit, found))
            say(f"{rows[-1].what}: {rows[-1].value:.2f} x ({rows[-1].note})")
        for size in RELAYED:
            found = figures[f"relay, {size} B"] = measure(size, scale.pick(600, 200), scale.rounds)
            rows.append(_relay_row(size, found))
            say(f"{rows[-1].what}: {rows[-1].value:.1f} us ({rows[-1].note})")
    finally:
        os.sched_setaffinity(0, affinity)
    return Outcome(rows, figures)


def _hop_row(size: int, limit: float, found: dict[str, Any]) -> Row:
    c = found["cpu_us"]
    note = (
        f"{c['hop']['hop']:.0f} us (sender {c['hop']['sender']:.0f}, gateway {c['hop']['receiver']:.0f}) against raw "
        f"{c['raw TCP']['hop']:.0f}; Flask + requests {found['flask_to_hop']:.1f} x the hop"
    )
    return Row(f"hop of {size} B: CPU over raw TCP's", found["hop_to_raw"], "x", at_most=limit, note=note)


def _relay_row(size: int, found: dict[str, Any]) -> Row:
    r, h = found["relay"], found["hop"]
    note = (
        f"sender {r['sender']:.0f}, gateways {r['gateway A']:.0f} and {r['gateway B']:.0f}, handler's process "
        f"{r['handler']:.0f}; a plain hop {h['sum']:.0f} us"
    )
    what = f"hand-over to a handler and on, {size} B: CPU added"
    return Row(what, found["added_us"], "us", at_most=ADDED_US, note=note)
