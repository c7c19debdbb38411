"""From rows to reports, and from answers to decisions."""

import pytest

from node.reporting import outbox
from node.reporting.outbox import Outbox, Verdict, pause, verdict
from wire.messages import PacketEvent, PacketInfo, SysInfo

SYS = SysInfo(timestamp=1.0, cpu_util=1.0, mem_total=1, mem_util=1.0)


def events(number: int) -> list[PacketInfo]:
    return [
        PacketInfo(timestamp=float(n), session_id=1, handler_id=1, sequence=n, event=PacketEvent.END)
        for n in range(number)
    ]


def test_reports_are_numbered_from_one_and_split_by_rows() -> None:
    box = Outbox(4, "boot")
    box.add_samples(SYS, [], [], [])
    box.add_packets(events(2 * outbox.REPORT_ROWS + 1))
    reports = box.take()
    assert [(r.node_id, r.boot_id, r.report_id) for r in reports] == [(4, "boot", n) for n in (1, 2, 3)]
    assert [len(r.packet_info) for r in reports] == [outbox.REPORT_ROWS, outbox.REPORT_ROWS, 1]
    assert [len(r.sys_info) for r in reports] == [1, 0, 0]
    assert [p.sequence for r in reports for p in r.packet_info] == list(range(2 * outbox.REPORT_ROWS + 1))


def test_nothing_makes_no_report_and_uses_no_number() -> None:
    box = Outbox(4, "boot")
    assert box.take() == []
    box.add_packets(events(1))
    assert [r.report_id for r in box.take()] == [1]
    assert box.take() == []


def test_what_has_no_room_is_dropped_and_counted() -> None:
    box = Outbox(4, "boot")
    box.add_packets(events(outbox.MAX_PACKETS - 1))
    box.add_packets(events(5))
    assert box.dropped == 4
    assert sum(len(r.packet_info) for r in box.take()) == outbox.MAX_PACKETS
    box.add_packets(events(5))
    assert box.dropped == 4


@pytest.mark.parametrize(
    ("status", "decided"),
    [
        (200, Verdict.ARRIVED),
        (422, Verdict.SET_ASIDE),
        (400, Verdict.SET_ASIDE),
        (413, Verdict.SET_ASIDE),
        (503, Verdict.KEEP),
        (500, Verdict.KEEP),
        (401, Verdict.KEEP),  # a wrong token can be mended
        (404, Verdict.KEEP),  # somebody else on the collector's port
        (None, Verdict.KEEP),
    ],
)
def test_only_an_answer_about_the_report_settles_it(status: int | None, decided: Verdict) -> None:
    assert verdict(status) is decided


def test_pauses_grow_to_a_bound() -> None:
    pauses = [pause(n) for n in range(20)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[1] < 1
    assert pauses[-1] == outbox.LONGEST_PAUSE_S
