"""A session whose own variant meets its objective nowhere goes on as another one, and no frame is lost on the way."""

import requests

from tests.conftest import Cluster
from tests.e2e.live_session import LiveSession, wait_for
from tests.e2e.test_slow_node import handlers, history, p95, slowed, traffic

DETECT = 1


def test_another_variant_takes_over_while_frames_flow(cluster: Cluster) -> None:
    """The detector may run on node 1 only, and its process there is stopped for most of each frame."""
    pin = {n: [1] for n in range(4)}
    session = LiveSession.create(cluster.url, "face_detection", entry_node=1, pin=pin)
    assert session.document["variant"] == "haar"
    with traffic(session) as statuses:
        wait_for(lambda: len(statuses) > 30 and p95(session) > 0, "a measured latency")
        asked = {"objective": {"max_latency_ms": 1.5 * p95(session) + 100}}
        answer = requests.post(f"{cluster.url}/sessions/{session.id}/reallocate", json=asked, timeout=30)
        assert answer.status_code == 200, answer.text
        detector = next(h["pid"] for h in _held(cluster, session) if h["handler_id"] == DETECT)
        with slowed([p for p in handlers(cluster.edge, session) if p.pid == detector], 0.2, run_s=0.02):
            wait_for(lambda: session.look()["variant"] != "haar", "another variant", session.look, patience_s=60)
        seen = len(statuses)
        wait_for(lambda: len(statuses) > seen + 20, "frames of the other variant", session.look)
    (moved,) = history(session, "moved")
    assert moved["variant"] == {"from": "haar", "to": session.look()["variant"]}
    assert moved["why"].endswith("instead of haar")
    assert set(statuses) == {"ok"}
    books = session.settled_books(len(statuses))
    assert (books["delivered"], books["dropped"]) == (len(statuses), {})
    assert {h["handler_id"] for h in _held(cluster, session)} == {0, 1, 2, 3}
    session.close()


def _held(cluster: Cluster, session: LiveSession) -> list[dict[str, object]]:
    held: list[dict[str, object]] = requests.get(f"{cluster.edge.url}/sessions/{session.id}", timeout=10).json()[
        "handlers"
    ]
    return held
