"""Figures into the JSON documents of handler types and services, and tables into Markdown. Pure."""

import json
from collections.abc import Mapping
from math import floor, log10
from typing import Any

Document = dict[str, Any]
STAMP = ("date", "machine")
BEGIN, END = "<!-- {}: written by scripts/profile -->", "<!-- end of {} -->"
SHARES = ("recall", "precision", "pair_accuracy", "nearest")


class NoPlace(Exception):
    """A Markdown page lacks the lines between which a table belongs."""


def dumped(document: Document) -> str:
    """Return the text of a resource file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def rounded(value: float | None, digits: int = 3) -> float | int | None:
    """Return *value* with so many significant digits and at most three decimals, whole where there is no fraction."""
    if not value:
        return value
    places = min(3, max(0, digits - 1 - floor(log10(abs(value)))))
    found = round(value, places)
    return int(found) if float(found).is_integer() else found


def _time(ms: float | None) -> float | int | None:
    """Return *ms* rounded, but not to 0: the coordinator takes 0 for "nobody knows"."""
    return rounded(ms) or (None if ms is None else 0.001)


def with_type_profile(document: Document, figures: Mapping[str, Any]) -> Document:
    """Return the document of a handler type with the costs in *figures*."""
    profile = {
        "ms": _time(figures["ms"]),
        "cpu_ms": rounded(figures["cpu_ms"]),
        "ms_by_size": {size: _time(ms) for size, ms in figures["ms_by_size"].items()},
        "load_ms": rounded(figures["load_ms"]),
        "loaded_mb": rounded(figures["loaded_mb"]),
        "mem_mb": rounded(figures["mem_mb"]),
        "output_bytes": figures["output_bytes"],
    }
    variations = [
        {
            "params": v["params"],
            "ms": _time(v["ms"]),
            "mem_mb": rounded(v["mem_mb"]),
            "output_bytes": v["output_bytes"],
        }
        for v in figures.get("variations", ())
    ]
    stamp = {name: figures[name] for name in STAMP}
    return document | {"profile": profile | ({"variations": variations} if variations else {}) | stamp}


def with_variant_costs(document: Document, variant: str, figures: Mapping[str, Any]) -> Document:
    """Return the document of a service with what a frame costs in *variant*."""
    profile = {name: rounded(figures[name]) for name in ("latency_ms", "cpu_ms", "mem_mb")}
    return _with(document, variant, profile=profile | {name: figures[name] for name in STAMP})


def with_accuracy(document: Document, variant: str, figures: Mapping[str, Any]) -> Document:
    """Return the document of a service with the accuracy of *variant* and what it rests on.

    Faces: F1 of the boxes, times the share of pairs told right where faces are recognized. Without labelled pictures
    (`people_found`) the accuracy stays what it was.
    """
    evidence: dict[str, Any] = {"data": data_of(figures)}
    evidence |= {name: round(figures[name], 4) for name in SHARES if name in figures}
    evidence |= {name: figures[name] for name in ("people_found",) if name in figures}
    evidence |= {name: figures[name] for name in STAMP}
    known = {"accuracy": round(figures["f1"] * figures.get("pair_accuracy", 1.0), 3)} if "f1" in figures else {}
    return _with(document, variant, **known, accuracy_by=evidence)


def data_of(figures: Mapping[str, Any]) -> str:
    """Return what the figures were measured on, for people."""
    if "frames" in figures:
        return f"{figures['frames']} frames of vtest.avi (PETS2009 S2L1), not labelled: a count"
    said = [f"{figures['faces']} faces in {figures['photos']} photos of dlib"]
    if "pairs" in figures:
        said.append(f"{figures['pairs']} pairs of {figures['pictures']} pictures of {figures['people']} people")
    return "; ".join(said)


def between(text: str, name: str, table: str) -> str:
    """Return the page *text* with *table* between the two lines called *name*. Raises NoPlace."""
    begin, end = BEGIN.format(name), END.format(name)
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise NoPlace(f"no lines {begin!r} and {end!r}")
    return f"{head}{begin}\n\n{table.strip()}\n\n{end}{tail}"


def _with(document: Document, variant: str, **members: Any) -> Document:
    """Return *document* with *members* of one variant, which stand behind its name and in this order."""
    variants = [_placed(v, members) if v["variant_name"] == variant else v for v in document["variants"]]
    return document | {"variants": variants}


def _placed(variant: Document, members: Document) -> Document:
    order = ("variant_name", "accuracy", "accuracy_by", "profile")
    known = variant | members
    return {k: known[k] for k in order if k in known} | {k: v for k, v in known.items() if k not in order}
