"""Two things that go wrong at once: frames are sent again at once, not when the entry finds them overdue."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from node.gateway.care import RESEND_S
from tests.e2e.live_session import wait_for
from tests.faults import marks
from tests.faults.lab import Lab, door_host, laboratory
from tests.faults.plans import COUNT, DECODE, READ, Part, What, Work
from tests.faults.posting import Whereabouts
from tests.faults.run import Traffic

ENTRY, OTHER = 1, 2
WORK = Work("chain", {DECODE: [ENTRY], READ: [OTHER], COUNT: [ENTRY]}, ENTRY, "lossless", 8, ())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as running:
        yield running
        assert running.end() == []


def post(traffic: Traffic) -> requests.Response:
    """Post by the clients' door: the link is for nodes."""
    headers = {"Content-Type": "image/jpeg", "Prefer": "wait=60"}
    url = Whereabouts(traffic.session, door_host)()
    return requests.post(url, data=marks.picture(7), headers=headers, timeout=60)


def says(lab: Lab, words: str) -> bool:
    return words in lab.nodes[OTHER].log.read_text()


@pytest.mark.parametrize("also", ["gateway", "link"])
def test_a_handler_dies_and_the_word_of_it_is_lost_too(lab: Lab, also: str) -> None:
    """also: its node's gateway dies with it, or the entry takes no connection for a while."""
    traffic = Traffic(lab, 0, WORK, seed=1)
    session_id = traffic.session.id
    assert post(traffic).status_code == 200
    handler, gateway = lab.handler_pid(OTHER, session_id, READ), lab.gateway_pid(OTHER)
    assert handler
    assert gateway
    os.kill(handler, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, traffic)
        wait_for(lambda: (traffic.session.books() or {}).get("in_flight") == 1, "the frame to be on its way")
        if also == "gateway":
            os.kill(gateway, signal.SIGSTOP)  # it does not read what the agent says
            os.kill(handler, signal.SIGKILL)
            wait_for(lambda: says(lab, f"session {session_id} handler {READ} is back"), "the next process")
            os.kill(gateway, signal.SIGKILL)
        else:
            end = lab.relay.begin(lab.doors[Part.LINK, ENTRY], What.REFUSE, 0)
            os.kill(handler, signal.SIGKILL)
            wait_for(lambda: says(lab, "cannot tell the entry"), "the word to be lost")
            end()
        result = answer.result(60).json()
    assert result["boxes"][0]["x"] == 7
    assert result["latency_ms"] < 1000 * RESEND_S, "nobody but the entry's own look has noticed"
    traffic.session.close()
