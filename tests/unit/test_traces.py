"""A frame's path, from rows that nodes report."""

from coordinator.traces import Seen, chrome, trace
from wire.messages import PacketEvent

RECV, START, END, SENT = PacketEvent.RECV, PacketEvent.START, PacketEvent.END, PacketEvent.SENT
NAMES = {0: "decode", 1: "detect"}


def seen(at: float, handler: int, node: int, event: PacketEvent, size: int | None = None) -> Seen:
    return Seen(timestamp=100 + at, handler_id=handler, node_id=node, event=event, size=size)


ROWS = [
    seen(0.002, 0, 1, START),
    seen(0.0, 0, 1, RECV, 5000),
    seen(0.005, 0, 1, END),
    seen(0.006, 0, 1, SENT, 900),
    seen(0.010, 1, 2, RECV, 900),
    seen(0.011, 1, 2, START),
    seen(0.031, 1, 2, END),
    seen(0.032, 1, 2, SENT, 80),
]


def test_a_path_has_each_handlers_wait_work_and_sending() -> None:
    found = trace(7, 3, ROWS, NAMES)
    assert found is not None
    assert (found.session_id, found.sequence, round(found.duration_ms, 6)) == (7, 3, 32.0)
    decode, detect = found.visits
    assert (decode.handler_name, decode.node_id, decode.bytes_in, decode.bytes_out) == ("decode", 1, 5000, 900)
    times = [round(ms, 6) for ms in (decode.wait_ms or 0, decode.execute_ms or 0, decode.send_ms or 0)]
    assert times == [2.0, 3.0, 1.0]
    assert (detect.handler_name, round(detect.execute_ms or 0, 6)) == ("detect", 20.0)


def test_nothing_seen_is_no_path() -> None:
    assert trace(7, 3, [], NAMES) is None


def test_a_frame_sent_again_visits_twice_and_a_join_once() -> None:
    """Two inputs before the start belong to one visit; what arrives after it has begun is another."""
    join = [seen(0.0, 1, 2, RECV, 10), seen(0.004, 1, 2, RECV, 20), seen(0.005, 1, 2, START)]
    died = [seen(1.0, 1, 2, RECV, 10), seen(1.1, 1, 2, RECV, 20), seen(1.2, 1, 2, START), seen(1.3, 1, 2, END)]
    found = trace(7, 3, join + died, NAMES)
    assert found is not None
    assert [v.bytes_in for v in found.visits] == [30, 30]
    assert [v.execute_ms is None for v in found.visits] == [True, False]


def test_a_handler_elsewhere_after_a_move_is_another_visit() -> None:
    found = trace(7, 3, [*ROWS, seen(1.0, 1, 3, RECV, 900)], {})
    assert found is not None
    assert [(v.handler_name, v.node_id) for v in found.visits][1:] == [("handler 1", 2), ("handler 1", 3)]


def test_a_clock_set_back_makes_no_negative_time() -> None:
    found = trace(7, 3, [seen(0.5, 0, 1, START), seen(0.1, 0, 1, END)], NAMES)
    assert found is not None
    assert all((v.execute_ms or 0) >= 0 for v in found.visits)


def test_the_trace_file_has_nodes_as_processes_and_microseconds() -> None:
    found = trace(7, 3, ROWS, NAMES)
    assert found is not None
    events = chrome(found)["traceEvents"]
    assert {e["args"]["name"] for e in events if e["name"] == "process_name"} == {"node 1", "node 2"}
    work = next(e for e in events if e["ph"] == "X" and e["name"] == "detect")
    assert (work["pid"], work["tid"], round(work["ts"]), round(work["dur"])) == (2, 1, 11_000, 20_000)
