"""What the coordinator counts as it happens, for Prometheus; `coordinator.figures` shows what there is."""

from prometheus_client import Counter, Histogram

DECISION = Histogram(
    "faceservice_decision_seconds",
    "Time of an algorithm for one decision, refusals and hangs too",
    ["algorithm"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
EVENTS = Counter("faceservice_session_events", "What happened to sessions: placed, moved, degraded, ...", ["event"])
REFUSALS = Counter("faceservice_session_refusals", "Sessions that found no place, by the problem's type", ["problem"])
