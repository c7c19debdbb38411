"""Commands that the docs name exist, and know the flags that the docs give them; files that they name are there."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(
    r"(?:sudo )?((?:python3 -m [a-z_.]+|python3 main\.py|scripts/[a-z]+|\./install\.sh)(?:[ \n][^`#]*)?)"
)
FLAG = re.compile(r"--[a-z][a-z-]*")
SUBCOMMANDS = ("client", "handlers.models")


def texts(page: str) -> list[str]:
    """Return the code of a page: blocks for a shell line by line, indented lines, and what stands in backticks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    return [
        *(line for block in blocks for line in block.splitlines()),
        *re.findall(r"^    (\S.*)$", rest, flags=re.MULTILINE),
        *re.findall(r"`([^`]+)`", rest),
    ]


def commands() -> set[str]:
    found = (COMMAND.match(text) for page in PAGES for text in texts(page.read_text(encoding="utf-8")))
    return {" ".join(match[1].split()) for match in found if match}


COMMANDS = sorted(commands())


@functools.cache
def help_of(*program: str) -> str:
    """Return what *program* says of itself."""
    argv = [sys.executable if word == "python3" else word for word in program]
    environ = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [*argv, "--help"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{' '.join(program)} --help: {done.returncode}\n{done.stderr}"
    return done.stdout


def program_of(words: list[str]) -> list[str]:
    """Return the words that name the program: with its subcommand, where it has some."""
    if words[0] != "python3":
        return words[:1]
    if words[1] != "-m":
        return words[:2]
    lowercase = len(words) > 3 and words[3].isalpha() and words[3].islower()
    return words[:4] if words[2] in SUBCOMMANDS and lowercase else words[:3]


def test_the_docs_are_read() -> None:
    assert len(COMMANDS) > 25


@pytest.mark.parametrize("command", COMMANDS)
def test_it_exists_and_knows_its_flags(command: str) -> None:
    said = help_of(*program_of(command.split()))
    assert [flag for flag in FLAG.findall(command) if flag not in said] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md"])
def test_files_that_are_named_are_there(page: str) -> None:
    named = re.findall(r"`([\w./]+(?:\.\w+|/))`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_licence_of_every_model_is_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^  ([a-z0-9-]+) {2,}(\S.*?) {2,}", notice, flags=re.MULTILINE))
    models = json.loads((ROOT / "handlers" / "manifest.json").read_text(encoding="utf-8"))["models"]
    assert rows == {model["id"]: model["licence"] for model in models} | {"id": "licence"}
