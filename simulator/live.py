"""A running system as a scenario, from its coordinator's API, and what-if questions on it.

Nodes, handler types, services and sessions come from GET /nodes, /handlers, /services, /sessions; how long a handler
takes on a node from what that node measured, else from its profile. Sessions begin where they are now, at the rate
that is delivered now; what is pinned stays, and their objectives are theirs.
"""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from coordinator.allocation.base import Variant
from coordinator.allocation.cost import always_run
from simulator.scenario import (
    Arrivals,
    Clients,
    Control,
    Fault,
    Kind,
    Machines,
    Pattern,
    Scenario,
    ScenarioError,
    Service,
    Way,
    check,
)
from wire.client import ControlClient
from wire.credential import Credential
from wire.graph import Topology
from wire.messages import Delivery, Graph, HandlerSpec, Link, Objective, ResultSpec

Json = dict[str, Any]
DURATION_S, WARMUP_S, DIES_S = 180.0, 20.0, 60.0
UNKNOWN_MS = 10.0  # as coordinator.allocation has it

replace = msgspec.structs.replace


def read(url: str, token: str | None) -> dict[str, list[Json]]:
    """Return the coordinator's lists. Raises PeerAway, PeerError."""
    client, base = ControlClient(Credential(token)), url.rstrip("/")
    try:
        return {
            name: msgspec.json.decode(client.get(f"{base}/{name}"))[name]
            for name in ("nodes", "handlers", "services", "sessions")
        }
    finally:
        client.close()


def scenario(live: Mapping[str, list[Json]], within_ms: float | None) -> Scenario:
    """Return the running system. Raises ScenarioError when nothing runs. within_ms: what a frame is judged by, in place
    of its session's max_latency_ms.
    """
    system = _System(live)
    up = [n for n in live["nodes"] if n.get("state") == "up"]
    sessions = [s for s in live["sessions"] if s["state"] == "running" and s["measured"]["fps"]]
    if not up or not sessions:
        raise ScenarioError("", f"{len(up)} nodes are up and {len(sessions)} sessions have frames: nothing to simulate")
    numbers = {n["node_id"]: i + 1 for i, n in enumerate(up)}
    services = {name: Service(name=name, variants=[way]) for name, way in (system.way(s) for s in sessions)}
    clients = [system.clients(s, numbers, within_ms) for s in sessions]
    made = Scenario(
        name="live",
        description="The running system.",
        duration_s=DURATION_S,
        warmup_s=WARMUP_S,
        kinds=list(system.kinds.values()),
        nodes=[system.machines(n) for n in up],
        services=list(services.values()),
        sessions=clients,
        control=Control(admission=False),  # what runs was let in
    )
    check(made)
    return made


def dies(live: Scenario, name: str) -> Scenario:
    """Return *live* with a node lost after a minute. Raises ScenarioError."""
    fault = Fault(at_s=DIES_S, node=_number(live, name))
    return replace(live, name=f"{name} dies", warmup_s=DIES_S, faults=[fault])


def add(live: Scenario, count: int, name: str) -> Scenario:
    """Return *live* with *count* more nodes like the one with that name. Raises ScenarioError."""
    like = live.nodes[_number(live, name) - 1]
    return replace(live, name=f"{count} more like {name}", nodes=[*live.nodes, replace(like, count=count)])


def traffic(live: Scenario, factor: float) -> Scenario:
    """Return *live* with *factor* times the frames."""
    return replace(live, name=f"traffic x {factor:g}", sessions=[replace(c, fps=c.fps * factor) for c in live.sessions])


def _number(live: Scenario, name: str) -> int:
    names = [m.name for m in live.nodes]
    if name not in names:
        raise ScenarioError("", f"no node {name!r} is up, only {', '.join(names)}")
    return names.index(name) + 1


def _listed(pin: int | list[int] | None) -> list[int]:
    """Return the nodes of a pin."""
    return [] if pin is None else [pin] if isinstance(pin, int) else pin


class _System:
    """What the lists say, looked up. kinds: made as they are met."""

    def __init__(self, live: Mapping[str, list[Json]]) -> None:
        self._types = {h["handler_type"]: h for h in live["handlers"]}
        self._variants = {(s["service_name"], v["variant_name"]): v for s in live["services"] for v in s["variants"]}
        self.kinds: dict[tuple[int, str, int], Kind] = {}
        self._measured: dict[tuple[str, int], list[float]] = {}  # (kind, node_id) -> ms
        for session in live["sessions"]:
            self._learn(session)

    def way(self, session: Json) -> tuple[str, Way]:
        """Return the session's service, one for each variant, and the variant as it always runs."""
        variant = self._variant(session)
        always, links = self._always(variant)
        place = {h: i for i, h in enumerate(always)}
        name = f"{session['service']} {session['variant']}"
        return name, Way(
            name=session["variant"],
            accuracy=variant.accuracy,
            handlers=[self._kind(variant, h).name for h in always],
            links=[[place[a], place[b]] for a, b in links],
        )

    def clients(self, session: Json, numbers: Mapping[int, int], within_ms: float | None) -> Clients:
        """Return the session as the client it has."""
        always, _ = self._always(self._variant(session))
        placed = {i: [numbers[n] for n in session["placement"][str(h)] if n in numbers] for i, h in enumerate(always)}
        pins = {i: _listed(session["pin"].get(str(h))) for i, h in enumerate(always)}
        pinned = {i: [numbers[n] for n in nodes if n in numbers] for i, nodes in pins.items()}
        wants = msgspec.convert(session["objective"] or {}, Objective)
        return Clients(
            service=f"{session['service']} {session['variant']}",
            fps=session["measured"]["fps"],
            arrivals=Arrivals(kind=Pattern.CONSTANT),
            objective=wants if within_ms is None else replace(wants, max_latency_ms=within_ms),
            delivery=Delivery(session["delivery"]),
            window=session["window"],
            priority=session["priority"],
            placed={h: nodes for h, nodes in placed.items() if nodes},
            pinned={h: nodes for h, nodes in pinned.items() if nodes},
        )

    def machines(self, node: Json) -> Machines:
        """Return the node: how fast it is at what it was measured at, and by that at the rest."""
        ratios = self._ratios(node["node_id"])
        everywhere = [r for n in {n for _, n in self._measured} for r in self._ratios(n).values()]
        speed = statistics.geometric_mean(ratios.values() or everywhere or [1.0])
        able = {h["name"] for h in node["handlers"] if h["available"]}
        return Machines(
            name=node["node_name"],
            cpus=max(1, node["hardware"]["cpus"]),
            mem_mib=max(1, node["hardware"]["mem_total"]),
            zone=node["zone"],
            speed=speed,
            speeds={name: ratio / speed for name, ratio in ratios.items()},
            runs=[name for name in (k.name for k in self.kinds.values()) if name.partition("#")[0] in able],
        )

    def _ratios(self, node_id: int) -> dict[str, float]:
        """Return profile / measured for each kind that was measured on the node."""
        return {
            kind.name: kind.ms / statistics.fmean(found)
            for kind in self.kinds.values()
            if kind.ms > 0 and (found := self._measured.get((kind.name, node_id)))
        }

    def _learn(self, session: Json) -> None:
        """Take what the session's handlers measured on their nodes."""
        if (session["service"], session["variant"]) not in self._variants or session["state"] != "running":
            return
        variant = self._variant(session)
        always, _ = self._always(variant)
        for handler in session["measured"]["handlers"]:
            if handler["handler_id"] in always and handler["service_ms"]:
                key = (self._kind(variant, handler["handler_id"]).name, handler["node_id"])
                self._measured.setdefault(key, []).append(handler["service_ms"])

    def _variant(self, session: Json) -> Variant:
        """Return the variant of the session's service. Raises ScenarioError when the service is not there any more."""
        found = self._variants.get((session["service"], session["variant"]))
        if found is None:
            said = f"session {session['session_id']}: no service {session['service']} with {session['variant']}"
            raise ScenarioError("", said)
        graph = Graph(
            handlers=msgspec.convert(found["handlers"], list[HandlerSpec]),
            links=msgspec.convert(found["links"], list[Link]),
            results=msgspec.convert(found["results"], list[ResultSpec]),
        )
        ports = {t: (len(spec["inputs"]), len(spec["outputs"])) for t, spec in self._types.items()}
        name, accuracy = session["variant"], found["accuracy"]
        return Variant(variant_name=name, accuracy=accuracy, topology=Topology(graph, ports))

    @staticmethod
    def _always(variant: Variant) -> tuple[list[int], list[tuple[int, int]]]:
        always = always_run(variant)
        links: Iterable[Link] = variant.topology.graph.links
        return always, [
            (k.source_handler, k.target_handler) for k in links if {k.source_handler, k.target_handler} <= set(always)
        ]

    def _kind(self, variant: Variant, handler: int) -> Kind:
        """Return the kind of a handler: its type, its parameters, and how many inputs it has here."""
        spec = variant.topology.handlers[handler]
        inputs = max(1, len(variant.topology.links_to(handler)))
        key = (spec.handler_type, msgspec.json.encode(spec.params, order="sorted").decode(), inputs)
        if key not in self.kinds:
            type_ = self._types[spec.handler_type]
            profile, outputs = type_["profile"], type_["outputs"]
            self.kinds[key] = Kind(
                name=f"{type_['name']}#{len(self.kinds)}"[-64:],
                ms=profile["ms"] or UNKNOWN_MS,
                mem_mib=profile["mem_mb"],
                load_ms=profile.get("load_ms") or 1500.0,
                output=outputs[0] if outputs else "Boxes",
                output_bytes=(profile["output_bytes"] or [None])[0],
                inputs=inputs,
                stateful=type_["stateful"],
            )
        return self.kinds[key]
