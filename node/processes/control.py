"""What the agent and its child processes (gateway, handlers) say to each other.

One pipe per child, made by multiprocessing; MessagePack messages in both directions, never pickle. The end of the
pipe is the end of the child: a child whose agent died leaves at once.

    agent ── Attach, Detach, Configure, ... ──▶ child
    agent ◀── Ready, Telemetry, ... ────────── child      (Telemetry each FLUSH_PERIOD_S, in batches)
"""

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from node.processes.fence import Fence
from node.reporting.tally import Counts
from wire.guard import Access, Guard
from wire.messages import Books, PacketInfo, SessionPlan
from wire.tls import ServerTls

MAX_MESSAGE = 64 << 20  # bytes; the largest that is sent is some thousand events
FLUSH_PERIOD_S = 0.5  # how often a child hands over its telemetry


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all messages."""


# --- to a handler's process ---------------------------------------------------------------------------


class Configure(Message, frozen=True, kw_only=True, tag="configure"):
    """The first message, and again after every change of plan: routes and epochs may differ, the handler not."""

    plan: SessionPlan
    running: bool


class SetRunning(Message, frozen=True, kw_only=True, tag="set_running"):
    """Start or stop a source; other handlers just see no frames."""

    running: bool


# --- to the gateway -----------------------------------------------------------------------------------


class Attach(Message, frozen=True, kw_only=True, tag="attach"):
    """Hold this session, or change it to this plan. Answered by Attached."""

    session_id: int
    plan: SessionPlan
    state: str  # initialized | running | stopped
    entry_port: int | None = None  # a port whose POST / takes frames: the older protocol's rx


class SetState(Message, frozen=True, kw_only=True, tag="set_state"):
    """A session is initialized, running or stopped: frames are taken only while it runs. Answered by StateSet."""

    session_id: int
    state: str


class Detach(Message, frozen=True, kw_only=True, tag="detach"):
    """Forget a session; waiting clients get 404, books are removed."""

    session_id: int


class HandOver(Message, frozen=True, kw_only=True, tag="hand_over"):
    """The session's entry moves to another node: take no more frames, finish those in flight, answer HandedOver."""

    session_id: int
    patience: float  # s; what is open then is dropped


class HandlerLost(Message, frozen=True, kw_only=True, tag="handler_lost"):
    """A local handler died and a new process is ready: the entry must send unanswered frames again."""

    session_id: int
    handler_id: int
    blame: int | None = None  # sequence of the frame it died with
    why: str | None = None  # it died


class SentAstray(Message, frozen=True, kw_only=True, tag="sent_astray"):
    """A local handler sent frames on where they may be lost: the entry must send them again."""

    session_id: int
    handler_id: int
    through: int  # highest sequence of them


class HandlerGaveUp(Message, frozen=True, kw_only=True, tag="handler_gave_up"):
    """A local handler cannot be kept alive: frames in flight fail with this reason."""

    session_id: int
    handler_id: int
    reason: str


class Shutdown(Message, frozen=True, kw_only=True, tag="shutdown"):
    """Take no more frames, finish those in flight within *patience* seconds, then answer Drained and exit."""

    patience: float = 10.0


class NewAccess(Message, frozen=True, kw_only=True, tag="new_access"):
    """Who may come in from now on, and what to show to others; certificates are to be read again."""

    access: Access


# --- from a child -------------------------------------------------------------------------------------


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The handler has prepared, or the gateway listens."""

    load_ms: float = 0.0


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """The handler could not prepare: for good when it is Unavailable."""

    reason: str
    for_good: bool = False
    bad_params: bool = False  # it is the plan's fault, and would be anywhere


class Attached(Message, frozen=True, kw_only=True, tag="attached"):
    """The gateway holds the session at this epoch, or cannot."""

    session_id: int
    epoch: int
    failure: str | None = None


class StateSet(Message, frozen=True, kw_only=True, tag="state_set"):
    """The gateway acts by this state from now on."""

    session_id: int
    state: str


class HandedOver(Message, frozen=True, kw_only=True, tag="handed_over"):
    """Answer to HandOver: the entry's last word on its frames."""

    session_id: int
    books: Books


class LinkStats(Struct, frozen=True, array_like=True):
    """What this process sent to another node since its last message."""

    target_node_id: int
    frames: int
    bytes: int
    send_ms: float  # sum
    seconds: Counts = Counts()  # the same, by size


class SessionStats(Message, frozen=True, kw_only=True, tag="session_stats"):
    """A gateway's view of a session whose entry it is."""

    session_id: int
    books: Books
    latency_ms: dict[str, float] = {}
    latency: Counts = Counts()  # since the gateway's start
    fps: float | None = None
    source_ended: bool = False


class Telemetry(Message, frozen=True, kw_only=True, tag="telemetry"):
    """What happened in the child since its last message."""

    packets: list[PacketInfo] = []
    packets_lost: int = 0  # events that did not fit the bounded buffer
    links: list[LinkStats] = []
    unreachable: list[int] = []  # nodes that took no connection
    frames: int = 0  # a handler's executed frames
    service_ms: float = 0.0  # sum of their service times
    service: Counts = Counts()  # the same, by size
    queue_size: int = 0
    sessions: list[SessionStats] = []


class Astray(Message, frozen=True, kw_only=True, tag="astray"):
    """Frames of a newer plan than the handler knew went by an older one, and may be nowhere now that it is over."""

    accept_from: int  # oldest epoch that is welcome
    through: int  # highest sequence of such a frame


class Drained(Message, frozen=True, kw_only=True, tag="drained"):
    """Answer to Shutdown."""

    in_flight: int = 0


ToHandler = Configure | SetRunning | NewAccess | Shutdown
ToGateway = Attach | SetState | Detach | HandOver | HandlerLost | SentAstray | HandlerGaveUp | NewAccess | Shutdown
FromChild = Ready | Failed | Attached | StateSet | HandedOver | Telemetry | Astray | Drained

_encoder = msgspec.msgpack.Encoder()
to_handler = msgspec.msgpack.Decoder(ToHandler)
to_gateway = msgspec.msgpack.Decoder(ToGateway)
from_child = msgspec.msgpack.Decoder(FromChild)


def send(pipe: Connection, message: Message) -> None:
    """Send *message*. Raises OSError when the other end is gone. One thread at a time per pipe."""
    pipe.send_bytes(_encoder.encode(message))


def receive(pipe: Connection, decoder: "msgspec.msgpack.Decoder[Any]") -> Any:
    """Return the next message; blocks.

    Raises EOFError or OSError when the other end is gone or says too much at once, msgspec.DecodeError for no message.
    """
    return read(pipe.recv_bytes(MAX_MESSAGE), decoder)


def read(data: bytes, decoder: "msgspec.msgpack.Decoder[Any]") -> Any:
    """Return the message in *data*. Raises msgspec.DecodeError: a handler's process may send anything."""
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


# --- how a child is started (arguments of the multiprocessing target) -----------------------------------


class ChildSettings(Struct, frozen=True, kw_only=True):
    """What gateway and handler processes share. Paths are absolute strings."""

    node_id: int
    channel_name: str  # names this agent's shared memory: unique per agent on the machine
    run_path: str  # the agent's own folder: channel root, books, progress files
    max_frame_bytes: int
    packet_sample: float = 1.0  # share of frames whose packet_info is kept, 0-1
    access: Access = Access()  # of the data port, and to others' data ports
    tls_cert: str | None = None  # of the data port; None: plain HTTP
    tls_key: str | None = None
    tls_ca: str | None = None  # for others' certificates; None: whom the system trusts
    cpus: list[int] = []  # cores that handlers may use; empty: all
    allowed_hosts: list[str] = []  # that handlers may reach by URLs, see handlers.hosts
    port_counts: dict[int, tuple[int, int]] = {}  # handler_type -> (inputs, outputs), for wire.graph.Topology
    output_types: dict[int, list[str]] = {}  # handler_type -> type names of its outputs, as in config/handlers
    source_path: list[str] = []  # folders of the files that capture may read
    fence: Fence | None = None  # of handlers' processes; None: they are not kept from anything


class HandlerSettings(Struct, frozen=True, kw_only=True):
    """What a handler's process needs beside its first Configure."""

    session_id: int
    handler_id: int
    class_name: str  # "module:Class"
    params: dict[str, Any]
    model_path: str
    gallery_path: str | None
    memory_mb: int = 0  # that its process may use; 0: any amount


def guard_of(settings: ChildSettings) -> Guard:
    """Return the guard of a child process. Raises BadCertificate."""
    cert, key, ca = (None if p is None else Path(p) for p in (settings.tls_cert, settings.tls_key, settings.tls_ca))
    return Guard(settings.access, ca, None if cert is None or key is None else ServerTls(cert, key))
