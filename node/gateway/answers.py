"""Results on their way to a client."""

from node.gateway.results import Result
from node.transport.connection import Connection


def answer(result: Result, connection: Connection, *, picture: bool, status: int | None = None) -> None:
    """Send *result* as its picture when that is asked for and there, else as JSON, with its honest status."""
    headers = {"X-Frame-Sequence": str(result.sequence), "Cache-Control": "no-store"}
    if picture and result.picture is not None and result.http_status == 200:
        connection.respond(200, headers | {"Content-Type": result.picture.media_type}, result.picture.data)
        return
    code = status or result.http_status
    if code == 503:
        headers["Retry-After"] = "1"
    connection.respond(code, headers | {"Content-Type": "application/json"}, result.json())
