"""What the models reached on the same pictures when they were chosen, by their libraries' own calls. Pure.

Measured on 2026-11-22 in one process per model. Haar was tried on the plain grey picture then; the handler equalises
it first, as its contract says, and finds more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = {"recall": 0.02, "precision": 0.02, "pair_accuracy": 0.005, "nearest": 0.0}


@dataclass(frozen=True)
class Reference:
    """Figures to reach by a variant of a service, with other parameters for its detector where that is said."""

    service: str
    variant: str
    figures: Mapping[str, float]
    params: Mapping[str, Any] = field(default_factory=dict)  # of handler 1, the detector

    @property
    def key(self) -> str:
        """Return the name that figures are kept by."""
        return trial_key(self.service, self.variant, self.params)


@dataclass(frozen=True)
class Verdict:
    """One figure beside what it should be. None: not measured here, with the reason."""

    what: str
    name: str
    measured: float | None
    wanted: float
    reason: str = ""

    @property
    def passed(self) -> bool | None:
        """Return whether it is reached; None without a measurement. More is better for all of them."""
        if self.measured is None:
            return None
        return self.measured >= self.wanted - TOLERANCE[self.name] - 1e-9


def _faces(variant: str, recall: float, precision: float, **params: Any) -> Reference:
    return Reference("face_detection", variant, {"recall": recall, "precision": precision}, params)


def _people(variant: str, pair_accuracy: float) -> Reference:
    return Reference("face_recognition", variant, {"pair_accuracy": pair_accuracy, "nearest": 1.0})


REFERENCES = (
    _faces("haar", 0.93, 0.89),
    _faces("haar", 0.88, 0.95, min_neighbors=5),
    _faces("hog", 0.26, 1.00, upsample=0),
    _faces("hog", 1.00, 1.00),
    _faces("mmod", 0.23, 1.00),
    _faces("mmod", 0.95, 1.00, upsample=1),
    _faces("mtcnn", 1.00, 0.98),
    _faces("yunet", 1.00, 0.98),
    _people("hog", 1.000),
    _people("mtcnn_facenet", 0.9994),
    _people("yunet_sface", 1.000),
)


def trial_key(service: str, variant: str, params: Mapping[str, Any]) -> str:
    """Return "accuracy face_detection/haar min_neighbors=5"."""
    return " ".join([f"accuracy {service}/{variant}", *(f"{k}={v}" for k, v in params.items())])


def verdicts(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Verdict]:
    """Yield what became of each reference figure; *parts* by key."""
    for reference in REFERENCES:
        found = parts.get(reference.key, {})
        for name, wanted in reference.figures.items():
            reason = str(found.get("unavailable", "" if found else "not measured"))
            yield Verdict(reference.key.removeprefix("accuracy "), name, found.get(name), wanted, reason)
