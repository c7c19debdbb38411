"""Tables for the docs, made of the documents of types and services. Pure, but for the manifest of models."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.profile.inputs import SIZES
from benchmarks.profile.reference import Verdict
from handlers.manifest import manifest

Document = dict[str, Any]
BUILT_IN = {"HaarDetectFaceHandler": "in OpenCV (BSD-like)", "HogDetectFaceHandler": "in dlib (Boost)"}
PREFIXES = {"predictor": "dlib-landmarks-"}  # of ids whose end alone is a parameter's value
SETS = {"mtcnn": ("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet")}  # names of several files
NO_MODEL = ("labels",)  # names of classes
NOTHING = "-"


def costs(types: Sequence[Document], services: Sequence[Document]) -> str:
    """Return the tables of handler types, of types with other parameters, and of variants, and where they come from."""
    found = [spec["profile"] for spec in types]
    variants = [v for service in services for v in service.get("variants", ())]
    told = [
        f"- Costs of types: {_origins(found)}.",
        f"- Costs of variants: {_origins([v['profile'] for v in variants if 'profile' in v])}.",
        f"- Accuracy: {_origins([v['accuracy_by'] for v in variants if 'accuracy_by' in v])}.",
    ]
    return "\n\n".join(filter(None, [_types(types), _variations(types), _variants(services), "\n".join(told)]))


def reached(verdicts: Sequence[Verdict]) -> str:
    """Return the table of figures beside those to reach."""
    rows = [
        (
            v.what.replace("/", ", ", 1),
            v.name.replace("_", " "),
            _share(v.measured, v.reason),
            f"{v.wanted:g}",
            _word(v),
        )
        for v in verdicts
    ]
    return _table(("variant", "figure", "measured", "to reach", ""), rows)


def models_of(params: Document) -> list[str]:
    """Return the models that *params* name, with their licences: "yunet-int8 (MIT)".

    A parameter holds a model's id, its end (PREFIXES), or the name of several (SETS).
    """
    found = [
        f"{model.id} ({model.licence})"
        for name, value in params.items()
        if isinstance(value, str) and value and name not in NO_MODEL
        for model in manifest().models
        if model.id == PREFIXES.get(name, "") + value.removeprefix(PREFIXES.get(name, ""))
        or model.id in SETS.get(value, ())
    ]
    return list(dict.fromkeys(found))


def _origins(figures: Sequence[Document]) -> str:
    """Return when and where *figures* were measured."""
    stamps = sorted({f"{f['date']} on {f['machine']}" for f in figures if f.get("date")})
    return "; ".join(stamps) or "not measured"


def _types(types: Sequence[Document]) -> str:
    rows = []
    for spec in sorted(types, key=lambda t: int(t["handler_type"])):
        profile = spec["profile"]
        by_size = profile.get("ms_by_size", {})
        sizes = [_number(by_size.get(size)) if size in by_size else NOTHING for size in SIZES]
        sizes = sizes if by_size else [NOTHING, f"({_number(profile['ms'])})", NOTHING, NOTHING]
        model = BUILT_IN.get(spec["name"]) or ", ".join(models_of(spec["params"])) or NOTHING
        memory = (_number(profile.get("loaded_mb")), _number(profile["mem_mb"]))
        cost = (_number(profile.get("cpu_ms")), *memory, _number(profile.get("load_ms")))
        weight = ", ".join(f"{b:,}" for b in profile.get("output_bytes", ())) or NOTHING
        rows.append((f"{spec['handler_type']} {spec['name']}", *sizes, *cost, weight, model))
    head = ("type", *(f"ms {size}" for size in SIZES), "CPU ms", "MB loaded", "MB", "load ms", "bytes out")
    return _table((*head, "model (licence)"), rows)


def _variations(types: Sequence[Document]) -> str:
    rows = [
        (
            f"{spec['handler_type']} {spec['name']}",
            ", ".join(f"`{k}` {_plain(v)}" for k, v in one["params"].items()),
            _number(one["ms"]),
            _number(one["mem_mb"]),
            ", ".join(f"{b:,}" for b in one["output_bytes"]) or NOTHING,
        )
        for spec in sorted(types, key=lambda t: int(t["handler_type"]))
        for one in spec["profile"].get("variations", ())
    ]
    return _table(("type", "with", "ms", "MB", "bytes out"), rows) if rows else ""


def _variants(services: Sequence[Document]) -> str:
    rows = [row for service in services for row in _rows(service)]
    head = ("service", "variant", "accuracy", "recall", "precision", "pairs told right", "people seen")
    return _table((*head, "latency ms", "CPU ms", "MB"), rows)


def _rows(service: Document) -> Iterator[tuple[str, ...]]:
    for variant in service.get("variants", ()):
        by, cost = variant.get("accuracy_by", {}), variant.get("profile", {})
        accuracy = variant.get("accuracy")
        measured = NOTHING if accuracy is None else f"{accuracy:g}"
        shares = [f"{by[n]:.3f}" if n in by else NOTHING for n in ("recall", "precision", "pair_accuracy")]
        seen = str(by["people_found"]) if "people_found" in by else NOTHING
        spent = [_number(cost.get(name)) for name in ("latency_ms", "cpu_ms", "mem_mb")]
        yield (service["service_name"], variant["variant_name"], measured, *shares, seen, *spent)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,g}" if value < 1000 else f"{value:,.0f}"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _share(value: float | None, reason: str) -> str:
    return reason or NOTHING if value is None else f"{value:.4f}"


def _word(verdict: Verdict) -> str:
    return {True: "pass", False: "**fail**", None: "not measured"}[verdict.passed]
