"""Names and depths of the inboxes inside a node. Both ends of an inbox must agree on them."""

from wire.messages import SessionPlan

GATEWAY = "gateway"
GATEWAY_DEPTH = 1024  # results of all sessions that enter here
GATEWAY_SENDERS = 512  # their exits and sources
SPARE = 8  # packets beside the window: re-sent ones, ends of sources


def handler_address(session_id: int, handler_id: int, window: int) -> str:
    """Return the address of a handler's inbox.

    Its depth goes by the window, and cannot change while a sender has it open: another window is another inbox.
    """
    return f"session/{session_id}/window/{window}/handler/{handler_id}"


def handler_depth(plan: SessionPlan, inputs: int) -> int:
    """Return how many packets a handler's inbox holds: two windows for each input, so that joins cannot deadlock."""
    return (2 * plan.window + SPARE) * max(1, inputs)


def input_path(session_id: int, handler_id: int, port: int) -> str:
    """Return the path of a handler's input on its node's data port."""
    return f"/sessions/{session_id}/handlers/{handler_id}/inputs/{port}"


def results_path(session_id: int) -> str:
    """Return the path where exits report to the entry's gateway."""
    return f"/sessions/{session_id}/results"


def lost_path(session_id: int) -> str:
    """Return the path where a gateway tells the entry's that frames must be sent again."""
    return f"/sessions/{session_id}/lost"
