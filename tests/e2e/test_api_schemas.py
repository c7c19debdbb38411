"""Each daemon against its own /openapi.json: calls made from the description, and bad ones, find no fault.

No call ends in an internal error, each answer is one of those that the description has (status, media type, schema),
refusals are problem documents, and the daemon is there afterwards.
"""

import contextlib
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import checks
from schemathesis.errors import FailureGroup
from schemathesis.generation import GenerationMode

from tests.conftest import Cluster
from tests.e2e.live_session import LiveSession

EXAMPLES = {GenerationMode.POSITIVE: 8, GenerationMode.NEGATIVE: 6}  # per operation
ENDLESS = {"/live"}  # a feed
BOUNDED = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ALWAYS_200 = {"/"}  # the older protocols, and the dashboard's page
CHECKS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
REJECTION = "negative_data_rejection"


@pytest.fixture(scope="module", autouse=True)
def session(shared_cluster: Cluster) -> None:
    """There is something to find; made before made-up heartbeats come."""
    LiveSession.create(shared_cluster.url, "face_detection", variant="haar")


@pytest.mark.parametrize("daemon", ["coordinator", "collector", "edge"])
def test_a_daemon_answers_as_it_describes_itself(shared_cluster: Cluster, daemon: str) -> None:
    url = getattr(shared_cluster, daemon).url
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    wrong: list[str] = []
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    for operation in operations:
        if operation.path not in ENDLESS:
            for mode, examples in EXAMPLES.items():
                wrong += faults(operation, url, mode, examples)
    assert not wrong, "\n\n".join(wrong)
    assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
    log = getattr(shared_cluster, daemon).log.read_text()
    assert "Traceback" not in log, log[-5000:]


def faults(operation: Any, url: str, mode: GenerationMode, examples: int) -> list[str]:
    """Return what calls of *operation* found, the first of each kind."""
    found: dict[str, str] = {}
    names = CHECKS if operation.path in ALWAYS_200 else (*CHECKS, REJECTION)
    wanted = [checks.CHECKS.get_one(n) for n in names]

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(BOUNDED, max_examples=examples)
    def call(case: Any) -> None:
        response = case.call(base_url=url, timeout=30)
        said = f"{case.as_curl_command()}\n{response.status_code} {response.text[:500]}"
        if response.status_code == 500:
            found.setdefault("500", said)
        try:
            case.validate_response(response, checks=wanted)
        except FailureGroup as group:
            for failure in group.exceptions:
                found.setdefault(type(failure).__name__, f"{said}\n{failure}")

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong with a call without parameters
        call()
    return list(found.values())
