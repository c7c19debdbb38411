"""Coordinator, collector and two nodes on free ports, with SQLite: the product as it runs, for one benchmark run."""

import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from benchmarks.common import ROOT
from client.coordinator import Coordinator, Session
from client.demo.daemons import Daemons, Place, new_folder
from wire.messages import HandlerSpec, Link, ResultSpec, SessionRequest
from wire.resources import Service, Variant

ECHO, SINK = 901, 902  # handler types of benchmarks/config/handlers
DECODE, YUNET = 6, 18
DETECTION = "yunet"  # a service: these two
NODES = {"edge": 1, "server": 2}
CONFIG = """
[coordinator]
coordinator_port = {coordinator}
node_path = {folder}/nodes
handler_type_path = {folder}/handlers
service_type_path = {folder}/services

[collector]
collector_port = {collector}
node_path = {folder}/nodes

[node edge]
node_id = 1
node_port = {edge_control}
data_port = {edge_data}
coordinator_url = http://127.0.0.1:{coordinator}
handler_type_path = {folder}/handlers
gallery_path = {root}/samples/gallery

[node server]
node_id = 2
node_port = {server_control}
data_port = {server_data}
coordinator_url = http://127.0.0.1:{coordinator}
handler_type_path = {folder}/handlers
gallery_path = {root}/samples/gallery

[reporter]
enabled = {telemetry}
collector_port = {collector}
packet_sample = {sample}
send_report_period = 1
spool_path = {folder}/spool

[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""
FACES_PARAMS: dict[str, dict[str, Any]] = {  # of the Haar handler: as shipped, and one that costs a tenth
    "faces": {},
    "faces_light": {"scale_factor": 1.3, "min_size": 60},
}
PORTS = ("coordinator", "collector", "edge_control", "edge_data", "server_control", "server_data")


def chain(name: str, service_id: int, types: Sequence[int]) -> Service:
    """Return a service whose handlers, of *types*, follow one another."""
    handlers = [HandlerSpec(handler_id=i, handler_type=t) for i, t in enumerate(types)]
    links = [Link(source_handler=i, target_handler=i + 1) for i in range(len(types) - 1)]
    return Service(
        service_id=service_id,
        service_name=name,
        variants=[Variant(variant_name="only", handlers=handlers, links=links)],
    )


def echo_chain(hops: int) -> Service:
    """Return the chain of *hops* links: echoes, and a sink at its end."""
    return chain(f"echo{hops}", 900 + hops, [*[ECHO] * hops, SINK])


def faces(name: str, service_id: int) -> Service:
    """Return decode -> Haar -> draw -> encode, whose picture is made for every frame that asks for it."""
    kinds: list[tuple[int, dict[str, Any]]] = [(6, {}), (8, FACES_PARAMS[name]), (16, {}), (5, {})]
    handlers = [HandlerSpec(handler_id=i, handler_type=t, params=p) for i, (t, p) in enumerate(kinds)]
    links = [Link(source_handler=a, target_handler=b, target_input=i) for a, b, i in _FACES]
    results = [ResultSpec(handler_id=1), ResultSpec(handler_id=3, on_demand=True)]
    variant = Variant(variant_name="only", handlers=handlers, links=links, results=results)
    return Service(service_id=service_id, service_name=name, variants=[variant])


_FACES = ((0, 1, 0), (0, 2, 0), (1, 2, 1), (2, 3, 0))  # source, target, input of the target


def services() -> list[Service]:
    """Return every service that the benchmarks use."""
    detection = chain(DETECTION, 992, [DECODE, YUNET])
    return [*map(echo_chain, (1, 2, 4, 8)), faces("faces", 990), faces("faces_light", 991), detection]


class Cluster:
    """The running daemons."""

    def __init__(self, daemons: Daemons, places: Mapping[str, Place], nodes: Mapping[str, int]) -> None:
        self._daemons = daemons
        self._places = places
        self._nodes = nodes
        self.coordinator = Coordinator(places["coordinator"].url)

    def agents(self) -> list[psutil.Process]:
        """Return the agents' processes."""
        names = {f"node:{name}" for name in self._nodes}
        return [p for p in psutil.Process(self._daemons.pid).children(recursive=True) if names & set(p.cmdline())]

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the nodes: agents, gateways, handlers and what starts them."""
        return [q for p in self.agents() for q in (p, *p.children(recursive=True))]

    def pids(self) -> list[int]:
        """Return the process ids of the nodes."""
        return [p.pid for p in self.processes()]

    def handlers(self, session_id: int) -> dict[str, int]:
        """Return the process ids of a session's handlers, by "handler@node"."""
        found = {}
        for node_id in self._nodes.values():
            sessions = Coordinator(self._places[f"node {node_id}"].url).list_of("/sessions", "sessions")
            for status in (h for s in sessions if s["session_id"] == session_id for h in s["handlers"]):
                found[f"{status['handler_id']}@{node_id}"] = int(status["pid"])
        return found

    @contextmanager
    def session(self, service: str, pin: Mapping[int, int | list[int]], **options: Any) -> Iterator[Session]:
        """Run a session of *service* for the length of the block."""
        session = self.coordinator.create(SessionRequest(service=service, pin=dict(pin), **options))
        try:
            yield session
        finally:
            self.coordinator.delete(session.session_id)


@contextmanager
def running(*, telemetry: bool = True, sample: float = 1.0) -> Iterator[Cluster]:
    """Start the daemons and wait for both nodes; afterwards nothing is left of them. Raises DemoError."""
    folder = new_folder()
    with started(folder, _configure(folder, telemetry, sample), NODES, others=2) as cluster:
        yield cluster


@contextmanager
def started(folder: Path, config: Path, nodes: Mapping[str, int], others: int) -> Iterator[Cluster]:
    """Start *config*'s daemons (its *nodes* and so many *others*); at the end they are stopped and *folder* removed."""
    daemons = Daemons(ROOT, config, {"FACESERVICE_SECURITY_TOKEN": ""}, folder / "daemons.log")
    try:
        cluster = Cluster(daemons, daemons.wait_ready(others + len(nodes)), nodes)
        while sum(n["state"] == "up" for n in cluster.coordinator.list_of("/nodes", "nodes")) < len(nodes):
            daemons.pause()
        yield cluster
    finally:
        fault = daemons.stop()
    if fault:
        raise RuntimeError(f"{fault} (log: {folder / 'daemons.log'})")
    shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, telemetry: bool, sample: float) -> Path:
    """Write the configuration: the shipped handler types and the benchmarks' own, and the services."""
    for name in ("handlers", "services", "nodes"):
        (folder / name).mkdir()
    for source in (ROOT / "config" / "handlers", ROOT / "benchmarks" / "config" / "handlers"):
        for file in source.glob("*.json"):
            shutil.copy(file, folder / "handlers")
    for service in services():
        (folder / "services" / f"{service.service_name}.json").write_bytes(msgspec.json.encode(service))
    config = folder / "benchmark.conf"
    config.write_text(
        CONFIG.format(
            folder=folder, root=ROOT, telemetry="yes" if telemetry else "no", sample=sample, **free_ports(PORTS)
        )
    )
    return config


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Return a port for each of *names* that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: int(s.getsockname()[1]) for name, s in zip(names, sockets, strict=True)}


def alternating(count: int) -> dict[int, int | list[int]]:
    """Return the pin that makes every link of a chain of *count* handlers a hop."""
    return {handler: 1 + handler % 2 for handler in range(count)}
