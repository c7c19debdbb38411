"""Looks a deployment over from where the client is: is everything there, reachable, alike, with room to work?

Asking is in `examine`; what an answer means is in the functions above it, which are pure.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from client.coordinator import Coordinator
from client.errors import ClientError, CoordinatorAway
from client.tables import Document
from wire.client import ControlClient, PeerAway, PeerError
from wire.credential import Credential
from wire.messages import SessionRequest

CONNECT_S = 2.0
CLOCK_MS = 1000.0  # beyond that, times of different nodes mislead a reader
LOW_SHM_MIB, LOW_DISK_MIB, LOW_MEMORY = 128, 512, 95.0  # MiB, MiB, % in use
SLOW_MS = 500.0
EXPIRY_DAYS = 30.0


class Level(StrEnum):
    """What a finding asks for: nothing, a look, a repair."""

    OK, LOOK, FAULT = "ok", "look", "fault"


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was examined; *advice* says what to do."""

    level: Level
    what: str
    found: str
    advice: str = ""


def ok(what: str, found: str) -> Finding:
    return Finding(level=Level.OK, what=what, found=found)


def look(what: str, found: str, advice: str) -> Finding:
    return Finding(level=Level.LOOK, what=what, found=found, advice=advice)


def fault(what: str, found: str, advice: str) -> Finding:
    return Finding(level=Level.FAULT, what=what, found=found, advice=advice)


def of_node(node: Document, version: str | None) -> Iterator[Finding]:
    """Judge an item of GET /nodes; *version* is the coordinator's."""
    what = f"node {node.get('node_id')} {node.get('node_name')}"
    state = str(node.get("state"))
    if state == "down":
        advice = "start it: python3 main.py config/node.conf; its coordinator_url must lead here"
        yield fault(what, "is down", advice)
        return
    if state != "up":
        yield look(
            what, f"is {state}: it takes no new handlers", f"POST /nodes/{node.get('node_id')}/uncordon undoes it"
        )
    if version and node.get("version") and node["version"] != version:
        yield look(what, f"runs version {node['version']}, the coordinator {version}", "upgrade the older one")
    yield from _clock(what, node)
    yield from _room(what, node.get("load") or {})
    missing = [
        f"{h.get('name')} ({h.get('reason')})" for h in node.get("handlers") or [] if not h.get("available", True)
    ]
    if missing:
        yield look(what, f"cannot run {'; '.join(missing)}", "only services that need them care")


def _clock(what: str, node: Document) -> Iterator[Finding]:
    offset, error = node.get("clock_offset_ms"), node.get("clock_error_ms") or 0.0
    if offset is not None and abs(offset) - error > CLOCK_MS:
        yield look(what, f"its clock is {offset / 1000:+.1f} s off the coordinator's", "run an NTP client on both")


def _room(what: str, load: Document) -> Iterator[Finding]:
    shm, disk, memory = load.get("shm_free"), load.get("disk_free"), load.get("mem_util")
    if shm is not None and shm < LOW_SHM_MIB:
        yield fault(what, f"{shm} MiB are free in /dev/shm", "frames wait there: enlarge it (--shm-size in containers)")
    if disk is not None and disk < LOW_DISK_MIB:
        yield look(what, f"{disk} MiB are free on its disk", "reports wait there while the collector is away")
    if memory is not None and memory > LOW_MEMORY:
        yield look(what, f"{memory:.0f} % of its memory are in use", "drain it, or stop a session")


def of_certificate(what: str, days: float) -> Iterator[Finding]:
    """Judge a certificate that ends in *days* days."""
    if days < EXPIRY_DAYS:
        yield look(what, f"its certificate ends in {days:.0f} days", "renew it, and send the daemon SIGHUP")


def summary(findings: Iterable[Finding]) -> str:
    """Return the last line."""
    levels = [f.level for f in findings]
    faults, looks = levels.count(Level.FAULT), levels.count(Level.LOOK)
    if not faults and not looks:
        return f"all {len(levels)} checks are fine"
    return f"{len(levels)} checks: {faults} faults, {looks} worth a look"


def examine(coordinator: Coordinator, collector: str | None, credential: Credential) -> Iterator[Finding]:
    """Yield what is found, part by part; ends early where the coordinator is away."""
    began = time.monotonic()
    try:
        details = coordinator.get("/readyz").get("details", {})
    except CoordinatorAway as error:
        yield fault("coordinator", str(error), "start it, or name it with --coordinator or $FACESERVICE_URL")
        return
    except ClientError as error:
        yield fault(
            "coordinator", str(error), "its log and GET /readyz say what it lacks; without a database nothing changes"
        )
        details = {}
    ms = 1000 * (time.monotonic() - began)
    if details:
        yield ok("coordinator", f"version {details.get('version')}, database {details.get('database')}, {ms:.0f} ms")
    if ms > SLOW_MS:
        yield look("coordinator", f"took {ms:.0f} ms to answer", "look at its CPU and at the database")
    yield from _certificate("coordinator", coordinator.url, credential)
    yield from _nodes(coordinator, details.get("version"), credential)
    yield from _services(coordinator)
    if collector is not None:
        yield _collector(collector, credential)
        yield from _certificate("collector", collector, credential)


def _nodes(coordinator: Coordinator, version: str | None, credential: Credential) -> Iterator[Finding]:
    nodes = coordinator.list_of("/nodes?limit=1000", "nodes")
    if not nodes:
        yield fault("nodes", "none has reported", "start one: python3 main.py config/node.conf")
    for node in nodes:
        found = list(of_node(node, version))
        if node.get("state") != "down":
            found += _reach(node, credential)
        yield from found or [ok(f"node {node.get('node_id')} {node.get('node_name')}", "up, reachable, with room")]


def _reach(node: Document, credential: Credential) -> Iterator[Finding]:
    what, http = f"node {node.get('node_id')} {node.get('node_name')}", ControlClient(credential)
    advice = "node_addr must be an address that others reach; is a firewall between?"
    try:
        http.get(f"{node['control_url']}/readyz", timeout=CONNECT_S)
    except (PeerAway, PeerError) as error:
        yield look(what, f"its control port is not reached from here: {error}", advice)
    address = urlsplit(str(node.get("data_url")))
    try:
        socket.create_connection((address.hostname or "", address.port or 80), CONNECT_S).close()
    except OSError as error:
        yield fault(
            what, f"frames cannot be sent to {node.get('data_url')} from here: {error.strerror or error}", advice
        )
        return
    yield from _certificate(what, str(node.get("data_url")), credential)


def _certificate(what: str, url: str, credential: Credential) -> Iterator[Finding]:
    """Look at the certificate that is shown at *url*, if it is https."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return
    address, context = (parts.hostname or "", parts.port or 443), credential.context()
    try:
        with (
            socket.create_connection(address, CONNECT_S) as sock,
            context.wrap_socket(sock, server_hostname=address[0]) as secured,
        ):
            shown = secured.getpeercert() or {}
    except OSError as error:
        yield fault(what, f"{url}: {error}", "it must come from the authority of --ca, and be for this name")
        return
    yield from of_certificate(what, (ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()) / 86400)


def _services(coordinator: Coordinator) -> Iterator[Finding]:
    for service in coordinator.list_of("/services", "services"):
        name = str(service.get("service_name"))
        try:
            found = coordinator.dry_run(SessionRequest(service=name))
            yield ok(f"service {name}", f"would run as {found.get('variant')} on {_nodes_of(found)}")
        except ClientError as error:
            yield look(
                f"service {name}",
                f"cannot be placed now: {error}",
                "POST /sessions?dry_run=1 says what each node lacks",
            )


def _nodes_of(found: dict[str, Any]) -> str:
    nodes = sorted({n for placed in found.get("placement", {}).values() for n in placed})
    return f"node{'s' * (len(nodes) != 1)} {', '.join(map(str, nodes))}"


def _collector(url: str, credential: Credential) -> Finding:
    try:
        ControlClient(credential).get(f"{url.rstrip('/')}/readyz", timeout=CONNECT_S)
    except (PeerAway, PeerError) as error:
        return look("collector", f"not ready: {error}", "frames do not notice; reports wait in the nodes' spools")
    return ok("collector", "ready")
