"""The API's answers as tables for people. Pure: dictionaries in, rich renderables out.

Members that are missing show as "-": a table must not break because a daemon is older or newer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Document = Mapping[str, Any]
Show = Callable[[Document], Iterable[RenderableType]]


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> RenderableType:
    """Return a table of *rows*; the sentence *empty* when there are none."""
    filled = [[text(cell) for cell in row] for row in rows]
    if not filled:
        return empty
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in filled:
        made.add_row(*row)
    return made


def text(value: Any) -> str:
    """Return a cell: numbers short, lists joined, nothing as "-"."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_nested(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(text(item) for item in value)
    return str(value)


def _nested(item: Any) -> str:
    return f"({text(item)})" if isinstance(item, Mapping) and item else text(item)


def services(document: Document) -> Iterable[RenderableType]:
    """GET /services"""
    rows = [
        (s.get("service_id"), s.get("service_name"), v.get("variant_name"), v.get("accuracy"), steps(v))
        for s in document.get("services", [])
        for v in s.get("variants", [])
    ]
    yield table(
        ("id", "service", "variant", "accuracy", "handlers (id name)"), rows, "no services: see service_type_path"
    )


def steps(variant: Document) -> str:
    """Return a variant's handlers as "0 decode, 1 detect"."""
    return ", ".join(f"{h.get('handler_id')} {h.get('handler_name')}" for h in variant.get("handlers", []))


def nodes(document: Document) -> Iterable[RenderableType]:
    """GET /nodes"""
    rows = [
        (
            n.get("node_id"),
            n.get("node_name"),
            n.get("state"),
            _part(n, "load").get("cpu_util"),
            _part(n, "load").get("mem_util"),
            _part(n, "hardware").get("cpus"),
            [h.get("name") for h in n.get("handlers") or [] if not h.get("available", True)],
            n.get("data_url"),
        )
        for n in document.get("nodes", [])
    ]
    columns = ("id", "name", "state", "cpu %", "mem %", "cpus", "cannot run", "frames at")
    yield table(columns, rows, "no nodes have reported: start one with `python3 main.py config/node.conf`")


def sessions(document: Document) -> Iterable[RenderableType]:
    """GET /sessions"""
    rows = [
        (
            s.get("session_id"),
            s.get("service"),
            s.get("variant"),
            s.get("state"),
            s.get("epoch"),
            s.get("placement"),
            _part(s, "measured").get("fps"),
            _part(_part(s, "measured"), "latency_ms").get("p50"),
            books(_part(_part(s, "measured"), "books")),
            s.get("reason"),
        )
        for s in document.get("sessions", [])
    ]
    columns = ("id", "service", "variant", "state", "epoch", "handler=nodes", "fps", "p50 ms", "frames", "reason")
    yield table(columns, rows, "no sessions")


def books(accounts: Document) -> str:
    """Return a session's accounts in words."""
    if not accounts:
        return ""
    dropped = sum(_part(accounts, "dropped").values())
    return f"{accounts.get('frames_in')} in, {accounts.get('delivered')} out, {dropped} dropped"


def algorithms(document: Document) -> Iterable[RenderableType]:
    """GET /algorithms"""
    entries = [a if isinstance(a, Mapping) else {"name": a} for a in document.get("algorithms", [])]
    rows = [(a.get("name"), a.get("default"), a.get("description")) for a in entries]
    yield table(("algorithm", "default", "what it does"), rows, "no algorithms")


def handlers(document: Document) -> Iterable[RenderableType]:
    """GET /handlers"""
    rows = [
        (h.get("handler_type"), h.get("name"), h.get("inputs"), h.get("outputs"), h.get("params"))
        for h in document.get("handlers", [])
    ]
    yield table(("type", "name", "in", "out", "parameters"), rows, "no handler types: see handler_type_path")


def galleries(document: Document) -> Iterable[RenderableType]:
    """GET /galleries"""
    rows = [
        (g.get("gallery"), g.get("labels"), g.get("pictures"), g.get("version")) for g in document.get("galleries", [])
    ]
    columns = ("gallery", "people", "pictures", "version")
    yield table(columns, rows, "no galleries: make one with `python3 -m client enroll GALLERY LABEL PICTURE...`")


def enrolled(document: Document) -> Iterable[RenderableType]:
    """What `enroll` did."""
    rows = [(e.get("picture"), e.get("change"), e.get("label"), e.get("note")) for e in document.get("enrolled", [])]
    rows += [(r.get("picture"), "refused", None, r.get("reason")) for r in document.get("refused", [])]
    yield table(("picture", "", "label", "note"), rows, "no pictures")


def explanation(document: Document) -> Iterable[RenderableType]:
    """GET /sessions/<id> and its events: where each handler runs, why, and what happened."""
    yield (
        f"session {document.get('session_id')}: {document.get('service')} / {document.get('variant')}, "
        f"{document.get('state')}, epoch {document.get('epoch')}"
    )
    if document.get("reason"):
        yield f"because: {document['reason']}"
    yield from document.get("summary") or [f"predicted: {text(document.get('predicted'))}"]
    why = [
        (e.get("handler_id"), e.get("name"), e.get("node_ids"), e.get("why"), _reasons(_part(e, "others")))
        for e in document.get("explanation") or []
    ]
    yield table(("handler", "name", "on node", "because", "on another node"), why, "no explanation was kept")
    if not document.get("summary"):
        yield from (f"Not variant {name}: {why}." for name, why in _part(document, "passed_over").items())
    rows = [(moment(e.get("timestamp")), e.get("event"), e.get("detail")) for e in document.get("events", [])]
    yield table(("when (UTC)", "event", "detail"), rows, "no events")


def findings(document: Document) -> Iterable[RenderableType]:
    """What `doctor` found."""
    rows = [[f.get(name) for name in ("level", "what", "found", "advice")] for f in document.get("findings", [])]
    yield table(("", "what", "found", "what to do"), rows, "nothing was examined")
    yield str(document.get("summary", ""))


def drained(document: Document) -> Iterable[RenderableType]:
    """POST /nodes/<id>/drain"""
    yield f"node {document.get('node_id', '')}: {document.get('state', 'draining')}"


def new_token(document: Document) -> Iterable[RenderableType]:
    """Show a fresh token and what to write down of it."""
    yield Text(f"The token, for its holder alone (it is kept nowhere):\n\n{document['token']}\n")
    yield Text(f"Lines for the file that [security] tokens_path names; then SIGHUP:\n\n{document['lines']}")


def _reasons(others: Document) -> str:
    return "\n".join(f"node {node}: {reason}" for node, reason in others.items())


def moment(timestamp: float | None) -> str:
    """Return s since the epoch as a UTC time of day with date."""
    if timestamp is None:
        return "-"
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _part(document: Document, name: str) -> Document:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


LISTS: dict[str, Show] = {
    "services": services,
    "nodes": nodes,
    "sessions": sessions,
    "algorithms": algorithms,
    "handlers": handlers,
    "galleries": galleries,
}
