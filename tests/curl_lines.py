"""The curl lines of a page of docs: what is asked, what the answer is said to be, and whether it is so.

A call is a block ```sh with one line that begins with curl, followed by a block ```http: the status, and after an
empty line the answer, shortened: JSON with some of the members, or the content type of what is no JSON.
"""

import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import msgspec

from tests.daemons import ROOT

_CALL = re.compile(r"```sh\n(curl [^\n]+)\n```\n\n```http\n(\d{3})\n(?:\n(.*?)\n)?```", re.DOTALL)
_END = "\n%{http_code} %{content_type}"


class Call(NamedTuple):
    """One line with what is said of its answer."""

    line: str
    status: int
    answer: str  # "" when there is no body


class Answer(NamedTuple):
    """What a daemon said."""

    status: int
    media_type: str
    body: bytes

    def json(self) -> Any:
        """Return the body, decoded."""
        return msgspec.json.decode(self.body)


def calls(page: str) -> Iterator[Call]:
    """Yield the calls of a page in order; each curl line of it must be one."""
    found = [Call(line, int(status), answer) for line, status, answer in _CALL.findall(page)]
    assert [c.line for c in found] == re.findall(r"^curl .*$", page, re.MULTILINE), "a line without an answer"
    yield from found


def run(line: str, variables: Mapping[str, str], folder: Path) -> Answer:
    """Run *line* with *variables* set, as a shell would, in the repository's folder."""
    body = folder / "body"
    body.write_bytes(b"")
    words = [Template(word).substitute(variables) for word in shlex.split(line)]
    done = subprocess.run(
        [*words, "-o", str(body), "-w", _END], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    status, _, media_type = done.stdout.rpartition("\n")[2].partition(" ")
    return Answer(int(status), media_type, body.read_bytes())


def run_until(call: Call, variables: Mapping[str, str], folder: Path, patience_s: float = 20.0) -> Answer:
    """Run *call*; one that only looks is repeated until its status is what the page says."""
    until = time.monotonic() + patience_s
    looks = not re.search(r" (-X|-d|--data-binary) ", call.line)
    while True:
        answer = run(call.line, variables, folder)
        if answer.status == call.status or not looks or time.monotonic() > until:
            return answer
        time.sleep(0.2)


def differences(call: Call, answer: Answer) -> list[str]:
    """Return what the page says of the answer that is not so."""
    if answer.status != call.status:
        return [f"{call.line}\n  status {answer.status}, not {call.status}: {answer.body[:500]!r}"]
    if not call.answer:
        return [] if not answer.body else [f"{call.line}\n  has a body: {answer.body[:500]!r}"]
    if not call.answer.startswith(("{", "[")):
        media_type = call.answer.split()[0].rstrip(":;,")
        return [] if answer.media_type.startswith(media_type) else [f"{call.line}\n  is {answer.media_type}"]
    lines = answer.body.strip().splitlines() if "ndjson" in answer.media_type else [answer.body]
    return [
        f"{call.line}\n  {what}" for what in _not_in(msgspec.json.decode(call.answer), msgspec.json.decode(lines[0]))
    ]


def _not_in(said: Any, real: Any, path: str = "") -> Iterator[str]:
    """Yield where *said* has a member or type that *real* has not: of lists in their first items; null is like any."""
    if isinstance(said, dict) and isinstance(real, dict):
        for name, value in said.items():
            if name in real:
                yield from _not_in(value, real[name], f"{path}/{name}")
            else:
                yield f"no {path}/{name}; there are {sorted(real)}"
    elif isinstance(said, list) and isinstance(real, list):
        if said and not real:
            yield f"{path} is empty"
        elif said:
            yield from _not_in(said[0], real[0], f"{path}/0")
    elif None not in (said, real) and _kind(said) != _kind(real):
        yield f"{path} is {real!r}, not like {said!r}"


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
