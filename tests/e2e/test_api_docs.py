"""docs/api.md is true: every line of it is run, in its order, and no endpoint is left out."""

import re
from pathlib import Path

import pytest
import requests

from tests.conftest import Cluster
from tests.curl_lines import Answer, calls, differences, run_until
from tests.daemons import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
NAMED = re.compile(r"^`((?:GET|POST|PUT|DELETE) [^`]+)`", re.MULTILINE)


def test_every_line_answers_as_the_page_says(shared_cluster: Cluster, tmp_path: Path) -> None:
    daemons = {"COORDINATOR": shared_cluster.coordinator, "COLLECTOR": shared_cluster.collector}
    variables = {name: daemon.url for name, daemon in daemons.items()} | {"NODE": shared_cluster.edge.url}
    wrong = []
    for call in calls(PAGE):
        variables |= moved(variables)
        answer = run_until(call, variables, tmp_path)
        wrong += differences(call, answer)
        if answer.status == 201 and "SESSION" not in variables:
            variables |= of_session(answer)
    assert not wrong, "\n".join(wrong)


def moved(variables: dict[str, str]) -> dict[str, str]:
    """Return where the session is now, while there is one: the controller may move it."""
    if "SESSION" not in variables:
        return {}
    found = requests.get(f"{variables['COORDINATOR']}/sessions/{variables['SESSION']}", timeout=10)
    held = found.status_code == 200 and found.json()["state"] != "deleted"
    return of_session(Answer(found.status_code, "", found.content)) if held else {}


def of_session(answer: Answer) -> dict[str, str]:
    """Return the variables that the page takes from the answer to POST /sessions."""
    session = answer.json()
    return {
        "SESSION": str(session["session_id"]),
        "SESSION_URL": session["session_url"],
        "RESULTS_URL": session["results_url"],
        "VIDEO_URL": session["video_url"],
        "DATA": session["session_url"].partition("/sessions")[0],
    }


@pytest.mark.parametrize("daemon", ["coordinator", "collector", "edge"])
def test_every_endpoint_has_a_line(shared_cluster: Cluster, daemon: str) -> None:
    document = requests.get(f"{getattr(shared_cluster, daemon).url}/openapi.json", timeout=10).json()
    endpoints = {
        f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert endpoints <= set(NAMED.findall(PAGE))


def test_the_algorithms_are_described_in_their_own_words(shared_cluster: Cluster) -> None:
    """Not in those of what bounds their time."""
    found = requests.get(f"{shared_cluster.url}/algorithms", timeout=10).json()["algorithms"]
    assert len({one["description"] for one in found}) == len(found) > 5
