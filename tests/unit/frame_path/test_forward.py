"""Packets whose way is of a plan that is over are let go at once: nobody may be there any more who takes them."""

import socket
import threading

import msgspec
import pytest

from node.reporting.recorder import Recorder
from node.transport.forward import Forwarder
from node.transport.hop_answers import ANSWER_S
from node.transport.http11 import ACCEPTED
from node.transport.routing import Routing
from tests.unit.frame_path.conftest import Place
from tests.unit.frame_path.stage import PATIENCE_S, SESSION, fan_out, picture
from tests.unit.frame_path.test_graph import PORTS
from wire.messages import Route


@pytest.mark.parametrize("away", [True, False])
def test_what_was_worked_under_an_older_plan_is_not_sent_for_long(place: Place, away: bool) -> None:
    """The plan changes between a handler's work and its sending; *away*: to another node, where nobody listens."""
    older = fan_out(2)
    if away:
        older.routes[2] = [Route(node_id=2, url="http://127.0.0.1:9")]
    (output,) = Routing(older, 1, PORTS).outputs
    newer = msgspec.structs.replace(older, epoch=2, accept_from=2)
    sender = Forwarder(place.channel, 1, Recorder(1.0), None, threading.Event(), lambda: newer)
    sending = threading.Thread(
        target=sender.send, args=(SESSION, output.targets[0], 0, lambda route: picture(0, 7)), daemon=True
    )
    sending.start()
    sending.join(PATIENCE_S)
    assert not sending.is_alive(), "it waits for a place of the older plan"
    sender.close()


def test_a_plan_that_leaves_the_older_epoch_welcome_leaves_its_packets_their_way(place: Place) -> None:
    older = fan_out(2)
    (output,) = Routing(older, 1, PORTS).outputs
    moving = msgspec.structs.replace(older, epoch=2, accept_from=1)
    closing = threading.Event()
    sender = Forwarder(place.channel, 1, Recorder(1.0), None, closing, lambda: moving)
    sending = threading.Thread(
        target=sender.send, args=(SESSION, output.targets[0], 0, lambda route: picture(0, 7)), daemon=True
    )
    sending.start()
    sending.join(0.5)
    assert sending.is_alive(), "the handler may still be about to open its inbox"
    closing.set()
    sending.join(PATIENCE_S)
    assert not sending.is_alive()
    sender.close()


class SilentPeer(threading.Thread):
    """A gateway that answers one packet and stands still then: its kernel goes on taking connections and bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        peer, _ = self._listener.accept()
        peer.recv(1 << 16)
        peer.sendall(ACCEPTED)
        self._kept = peer

    def close(self) -> None:
        self._listener.close()
        self._kept.close()


@pytest.mark.parametrize("later", [True, False])
def test_a_sender_leaves_a_node_that_fell_silent_as_soon_as_a_plan_does(place: Place, later: bool) -> None:
    """It waits for answers: on a kept connection, for one packet or for several."""
    peer = SilentPeer()
    peer.start()
    older = fan_out(2)
    older.routes[2] = [Route(node_id=2, url=peer.url)]
    (output,) = Routing(older, 1, PORTS).outputs
    plans = [older]
    sender = Forwarder(place.channel, 1, Recorder(1.0), None, threading.Event(), lambda: plans[-1])

    def send() -> None:
        for sequence in range(5):
            sender.send(SESSION, output.targets[0], sequence, lambda route: picture(0, 7), later=later and sequence > 0)
        sender.settle()

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    sending.join(1.0)
    assert sending.is_alive(), "there is no answer"
    plans.append(msgspec.structs.replace(older, epoch=2, accept_from=2))
    sending.join(ANSWER_S / 3)
    assert not sending.is_alive(), "it waits for an answer that does not matter any more"
    assert sender.let_go == 4
    sender.close()
    peer.close()
