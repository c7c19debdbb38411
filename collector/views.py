"""The collector's API: parse, store, answer."""

import logging

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from msgspec import Struct

from collector import older
from collector.nodes import Directory
from collector.store import Busy, Refused, Store
from wire.database import DatabaseAway
from wire.messages import Report
from wire.openapi import bodies
from wire.web import Problem, Unavailable, Unprocessable, decode, encode, speaks_for

RETRY_AFTER_S = 2

logger = logging.getLogger(__name__)


class Stored(Struct, frozen=True, kw_only=True):
    """Answer to POST /reports."""

    report_id: int


class OlderAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Answer in the older form; HTTP 200 either way, as that protocol has it."""

    result: str
    reason: str | None = None


def blueprint(store: Store, nodes: Directory) -> Blueprint:
    """Return the collector's own endpoints."""
    bp = Blueprint("collector", __name__)

    @bp.post("/reports")
    @bodies(takes=Report, gives=Stored)
    def reports() -> ResponseReturnValue:
        """Store a report and answer when it is committed; one that was stored before changes nothing."""
        report = decode(Report, request.get_data())
        speaks_for(report.node_id)
        try:
            store.add(report)
        except (DatabaseAway, Busy) as error:
            raise Unavailable(str(error), retry_after=RETRY_AFTER_S) from error
        except Refused as error:
            raise Unprocessable(f"the database refuses the report: {error}") from error
        return encode(Stored(report_id=report.report_id))

    @bp.post("/")
    @bodies(takes=older.OlderReport, gives=OlderAnswer)
    def older_reports() -> ResponseReturnValue:
        """Store a report of the older form; its node is known by its address."""
        try:
            node_id = nodes.find(request.remote_addr or "")
            if node_id is None:
                raise Refused(f"no node has the address {request.remote_addr}")
            speaks_for(node_id)
            report = older.convert(decode(older.OlderReport, request.get_data()), node_id)
            store.add(report, known=False)
        except (DatabaseAway, Busy, Refused, Problem) as error:
            logger.warning("older report from %s: %s", request.remote_addr, error)
            return encode(OlderAnswer(result="Failed", reason=str(error)))
        return encode(OlderAnswer(result="Succeeded"))

    return bp
