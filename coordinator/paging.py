"""?after= and ?limit= of lists."""

from flask import request

from wire.web import BadRequest

MAX_LIMIT = 1000
MAX_AFTER = 2**63 - 1  # what an id may be in the database

QUERY = {
    "after": {"type": "integer", "minimum": -1, "maximum": MAX_AFTER, "default": 0},
    "limit": {"type": "integer", "minimum": 1, "default": 100, "description": f"{MAX_LIMIT} at most are returned"},
}  # for the API's description


def window(default: int = 100) -> tuple[int, int]:
    """Return after and limit of the request, limit *default* when it says none. Raises BadRequest."""
    try:
        after, limit = int(request.args.get("after", "0")), int(request.args.get("limit", str(default)))
    except ValueError as error:
        raise BadRequest("after and limit are whole numbers") from error
    if limit < 1 or not -1 <= after <= MAX_AFTER:
        raise BadRequest(f"limit is at least 1, after between -1 and {MAX_AFTER}")
    return after, min(limit, MAX_LIMIT)
