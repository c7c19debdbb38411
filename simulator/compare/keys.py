"""What a result depends on, in one word: its scenario, and the code that a run with its algorithm executes.

That code is what `simulator.run` and the algorithm's module import of the simulator, of the coordinator and of
wire/graph.py, read without comments, docstrings and layout: words may change, and so may other algorithms.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from coordinator.allocation import ALGORITHMS
from simulator.scenario import Scenario, as_json

ROOT = Path(__file__).resolve().parents[2]
OURS = ("simulator", "coordinator", "wire.graph")
REGISTRY = "coordinator.allocation"  # names every algorithm; a run executes one
RUN = "simulator.run"


def digest(of: Scenario, algorithm: str) -> str:
    """Return the word. Raises KeyError for an unknown algorithm."""
    found = hashlib.sha256(msgspec.json.encode(as_json(msgspec.structs.replace(of, description=""))))
    for module in sorted(code_of(algorithm)):
        found.update(f"\n{module}\n{_meaning(module)}".encode())
    return found.hexdigest()[:16]


@cache
def code_of(algorithm: str) -> frozenset[str]:
    """Return the modules, by their dotted names."""
    found: set[str] = set()
    open_ = [RUN, ALGORITHMS[algorithm].__module__]
    while open_:
        module = open_.pop()
        if module not in found | {REGISTRY}:
            found.add(module)
            open_ += _imports(module)
    return frozenset(found)


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_path(module).read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(OURS):
            yield from ([node.module] if _path(node.module).exists() else [])
            inner = (f"{node.module}.{name.name}" for name in node.names)
            yield from (name for name in inner if _path(name).exists())


def _path(module: str) -> Path:
    file = ROOT.joinpath(*module.split("."))
    return file / "__init__.py" if file.is_dir() else file.with_suffix(".py")


@cache
def _meaning(module: str) -> str:
    """Return the module's syntax tree without docstrings."""
    tree = ast.parse(_path(module).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
