"""The HTTP API of single frames: where each was, and how long; a view parses, calls, renders."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from coordinator.frame_store import FrameStore
from coordinator.paging import QUERY, window
from coordinator.service import Sessions
from coordinator.traces import FrameTrace, chrome, trace
from wire.openapi import bodies
from wire.web import BadRequest, NotFound, encode

MAX_SEQUENCE = 2**63 - 1  # the column's
FORMATS = ("json", "chrome")


def make(sessions: Sessions, frames: FrameStore) -> Blueprint:
    """Return all routes."""
    bp = Blueprint("frames", __name__)

    @bp.get("/sessions/<int:session_id>/frames")
    @bodies(query={"limit": QUERY["limit"] | {"default": 20}})
    def list_frames(session_id: int) -> ResponseReturnValue:
        """Return the latest frames of which nodes have reported, newest first."""
        sessions.get(session_id)
        return encode({"frames": frames.latest(session_id, window(default=20)[1])})

    @bp.get("/sessions/<int:session_id>/frames/<int:sequence>")
    @bodies(gives=FrameTrace, query={"format": {"type": "string", "enum": FORMATS, "default": "json"}})
    def get_frame(session_id: int, sequence: int) -> ResponseReturnValue:
        """Return a frame's path through the handlers; with ?format=chrome for a trace viewer."""
        record = sessions.get(session_id)
        form = request.args.get("format", "json")
        if form not in FORMATS:
            raise BadRequest(f"format is one of {', '.join(FORMATS)}, not {form!r}")
        names = {h.handler_id: h.handler_name for h in record.plan.graph.handlers}
        rows = frames.seen(session_id, sequence) if sequence <= MAX_SEQUENCE else []
        found = trace(session_id, sequence, rows, names)
        if found is None:
            raise NotFound(
                f"nothing is known of frame {sequence} of session {session_id}: reports come every few seconds "
                "(send_report_period), some nodes report only a share of frames (packet_sample), and rows are kept "
                "for packet_retention_hours"
            )
        return _download(session_id, found) if form == "chrome" else encode(found)

    return bp


def _download(session_id: int, found: FrameTrace) -> Response:
    response = encode(chrome(found))
    name = f"session-{session_id}-frame-{found.sequence}.json"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
