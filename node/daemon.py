"""The node daemon: `run` starts the agent's parts in order, waits for a stop signal, and ends them in reverse."""

import logging
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from node import older
from node.agent import Agent, AgentSettings
from node.catalogue import Catalogue
from node.clock import Offset
from node.control_server import ControlServer
from node.galleries import Galleries, Key
from node.heartbeat import Convergence, HeartbeatThread
from node.processes import confinement
from node.processes.control import ChildSettings
from node.processes.fence import fence_of
from node.processes.launcher import Launcher
from node.reporting.figures import Figures
from node.reporting.reporter import ProcessSample, Reporter
from node.reporting.telemetry_sink import Sink
from node.run_folder import NoRoom, RunFolder, check_length, check_shared_memory, default_base
from node.views import make_app
from wire import metrics, structs
from wire.client import ControlClient
from wire.credential import Credential
from wire.guard import Access, Guard, access_of, make_guard, on_hangup, renew
from wire.messages import Heartbeat
from wire.resources import HandlerTypeSpec, load_handler_types, port_counts
from wire.serving import CannotBind, bind, url_of
from wire.settings import NodeSettings, Settings
from wire.version import version

logger = logging.getLogger(__name__)

LOOK_S = 1.0  # how long a stop signal may go unseen
DRAIN_S = 10.0  # how long frames in flight may take after a stop signal
AWAY, FAILED = 3, 1  # exit status: a dependency is away; anything else


class CannotStart(Exception):
    """The node cannot begin its work."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(settings: Settings, node: NodeSettings) -> int:
    """Be node *node* until SIGTERM or SIGINT; return the exit status."""
    structs.learn()
    specs = load_handler_types(node.handler_type_path)
    with stop_signals() as stopping:
        try:
            with ExitStack() as stack:
                daemon = _start(stack, settings, node, specs)
                on_hangup(lambda: renew(settings, partial(_access, node), daemon.take_access))
                print(daemon.ready_line, flush=True)  # noqa: T201 - the one line for whoever started us
                while not stopping.wait(LOOK_S):  # a signal just before a wait without end would not be seen
                    continue
                logger.info("node %d stops", node.node_id)
                daemon.agent.close(DRAIN_S)
        except CannotStart as error:
            logger.error("node %d: %s", node.node_id, error)
            return error.status
    return 0


@dataclass(frozen=True, slots=True)
class Sockets:
    """Both ports, and how others reach them."""

    control: socket.socket
    data: socket.socket
    control_url: str
    data_url: str


@dataclass(frozen=True, slots=True)
class Daemon:
    """What runs."""

    agent: Agent
    guard: Guard
    ready_line: str

    def take_access(self, access: Access) -> None:
        """Go by *access* in all processes of the node. Raises BadCertificate."""
        self.guard.take(access)
        self.agent.take_access(access)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Return an event that SIGTERM and SIGINT set; the handlers before are back afterwards."""
    stopping = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, lambda _number, _frame: stopping.set()) for n in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(stack: ExitStack, settings: Settings, node: NodeSettings, specs: list[HandlerTypeSpec]) -> Daemon:
    """Start everything; *stack* ends it in reverse order. Raises CannotStart."""
    guard = make_guard(settings.security, node.token)
    sockets = _bind(stack, node, guard.scheme)
    folder = _run_folder(stack, node)
    logger.info("%s", confinement.describe())
    launcher = Launcher(node.handler_environ)
    launcher.start()
    stack.callback(launcher.stop)
    boot_id = secrets.token_hex(8)

    reporter = Reporter(settings.reporter, node.node_id, boot_id, guard.credential, lambda: _samples(agent))
    galleries = _galleries(node, folder, guard.credential, lambda: [(s, slot.handler_id) for s, slot in agent.slots()])
    sink = Sink(reporter)
    held = _agent_settings(settings, node, specs, folder)
    agent = Agent(held, launcher, sockets.data, sink, galleries)
    reporter.start()
    stack.callback(reporter.stop)
    galleries.start()
    stack.callback(galleries.stop)
    stack.callback(agent.stop)
    if not agent.start():
        raise CannotStart(f"the gateway does not start: {agent.gateway.reason or 'no answer'}", FAILED)

    checked = replace(held.child, access=Access(), tls_cert=None, tls_key=None)
    catalogue = Catalogue(specs, launcher, node.model_path, node.gallery_path, checked)
    catalogue.start()
    stack.callback(catalogue.stop)
    metrics.add(Figures(agent, reporter, sink.totals, {s.handler_type: s.name for s in specs}))
    host = older.Host(node.node_id, sockets.data_url, port_counts(specs))
    server = ControlServer(sockets.control, make_app(agent, catalogue, host, guard), guard.tls)
    server.begin()
    stack.callback(server.end)
    composer = Composer(node, sockets, boot_id, agent, catalogue, reporter, sink)
    _start_heartbeat(stack, node, guard.credential, agent, composer)
    return Daemon(agent, guard, f"node {node.node_id} ready on {sockets.control_url}, frames on {sockets.data_url}")


def _bind(stack: ExitStack, node: NodeSettings, scheme: str) -> Sockets:
    try:
        control = stack.enter_context(bind(node.listen_addr, node.node_port))
        data = stack.enter_context(bind(node.listen_addr, node.data_port))
    except CannotBind as error:
        raise CannotStart(str(error), AWAY) from error
    return Sockets(control, data, url_of(control, node.node_addr, scheme), url_of(data, node.node_addr, scheme))


def _run_folder(stack: ExitStack, node: NodeSettings) -> RunFolder:
    try:
        check_shared_memory()
        check_length(default_base(), node.node_id)
        folder = RunFolder(node.node_id)
    except (NoRoom, OSError) as error:
        raise CannotStart(str(error), AWAY) from error
    stack.callback(folder.remove)
    return folder


def _agent_settings(
    settings: Settings, node: NodeSettings, specs: list[HandlerTypeSpec], folder: RunFolder
) -> AgentSettings:
    cert, key, ca = settings.security.tls_cert, settings.security.tls_key, settings.security.tls_ca
    child = ChildSettings(
        node_id=node.node_id,
        channel_name=folder.name,
        run_path=str(folder.path),
        max_frame_bytes=settings.security.max_frame_mb << 20,
        packet_sample=settings.reporter.packet_sample if settings.reporter.enabled else 0.0,
        access=_access(node, settings),
        tls_cert=None if cert is None else str(cert),
        tls_key=None if key is None else str(key),
        tls_ca=None if ca is None else str(ca),
        cpus=node.cpus,
        allowed_hosts=node.allowed_hosts,
        port_counts=port_counts(specs),
        output_types={s.handler_type: list(s.outputs) for s in specs},
        source_path=list(map(str, node.source_path)),
        fence=fence_of(settings, node, folder.path, (s.class_name for s in specs)),
    )
    return AgentSettings(
        child=child,
        types={s.handler_type: s for s in specs},
        model_path=node.model_path,
        handler_timeout_s=node.handler_timeout,
        handler_memory_mb=node.handler_memory_mb,
    )


def _galleries(
    node: NodeSettings, folder: RunFolder, credential: Credential, living: Callable[[], list[Key]]
) -> Galleries:
    client = ControlClient(credential)
    return Galleries(node.gallery_path, folder.path / "galleries", node.coordinator_url, client, living=living)


def _access(node: NodeSettings, settings: Settings) -> Access:
    """Return what *settings*, maybe read again, say of this node."""
    now = next((n for n in settings.nodes if n.node_id == node.node_id), node)
    return replace(access_of(settings.security, now.token), tx_targets=now.tx_targets)


def _samples(agent: Agent) -> list[ProcessSample]:
    """Return what the sampler wants to know of each handler's living process."""
    samples = (slot.sample(session_id) for session_id, slot in agent.slots())
    return [s for s in samples if s is not None]


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes heartbeats."""

    node: NodeSettings
    sockets: Sockets
    boot_id: str
    agent: Agent
    catalogue: Catalogue
    reporter: Reporter
    sink: Sink

    def __call__(self, clock: Offset | None = None, *, leaving: bool = False) -> Heartbeat:
        """Return what this node is and holds just now; clock: how far it is from the coordinator's."""
        node = self.node
        return Heartbeat(
            node_id=node.node_id,
            node_name=node.node_name,
            boot_id=self.boot_id,
            control_url=self.sockets.control_url,
            data_url=self.sockets.data_url,
            zone=node.zone,
            labels=node.labels,
            handlers=self.catalogue.availability(),
            hardware=self.reporter.hardware(),
            version=version(),
            load=self.reporter.load(),
            sessions=self.agent.sessions(),
            timestamp=time.time(),
            leaving=leaving,
            unreachable=self.sink.unreachable(),
            clock_offset_ms=clock.offset_ms if clock else None,
            clock_error_ms=clock.error_ms if clock else None,
            cost_per_hour=node.cost_per_hour,
            watts_idle=node.watts_idle,
            watts_busy=node.watts_busy,
        )


def _start_heartbeat(
    stack: ExitStack, node: NodeSettings, credential: Credential, agent: Agent, composer: Composer
) -> None:
    beat = HeartbeatThread(node.coordinator_url, ControlClient(credential), composer, Convergence(agent))
    composer.sink.hurry = beat.hurry
    beat.start()
    stack.callback(lambda: beat.stop(composer(leaving=True)))
