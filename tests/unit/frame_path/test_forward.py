"""Packets whose way is of a plan that is over are let go at once: nobody may be there any more who takes them."""

import threading

import msgspec
import pytest

from node.reporting.recorder import Recorder
from node.transport.forward import Forwarder
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
