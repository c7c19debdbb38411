"""Who may import whom, and what may be imported at all: read from the source, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "wire": set[str](),
    "handlers": {"wire"},
    "node": {"handlers", "wire"},
    "coordinator": {"wire"},
    "collector": {"wire"},
    "client": {"wire"},
    # the controller's pure rules are simulated too
    "simulator": {
        "coordinator.allocation",
        "coordinator.admission",
        "coordinator.elsewhere",
        "coordinator.rebalance",
        "coordinator.overload",
        "coordinator.watch",
        "wire",
    },
}
PURE = [
    "coordinator/allocation",
    "wire/graph.py",
    "wire/restarts.py",
    "wire/faults.py",
]  # they decide; they do nothing
IMPURE_IMPORTS = {
    "os",
    "socket",
    "threading",
    "subprocess",
    "time",
    "requests",
    "flask",
    "sqlalchemy",
    "multiprocessing",
}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec"}
POLLING = {"time.sleep"}


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def product() -> list[Path]:
    return [ROOT / "main.py", *sources(*MAY_IMPORT)]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of each import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def dotted(node: ast.expr) -> str:
    """Return "a.b" for the expression a.b, else an empty string."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, dotted(node.func)


def is_in(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    """Daemons never import each other; what they agree on is in wire."""
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources(package)
        for line, name in imports(path)
        if name.partition(".")[0] in MAY_IMPORT and not is_in(name, allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_ours_is_imported_by_main_when_a_child_imports_it_again() -> None:
    """Children of the fork server import main.py: it must cost nothing and start nothing."""
    tree = ast.parse((ROOT / "main.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.name for node in top if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.partition(".")[0] in MAY_IMPORT]
    guarded = tree.body[-1]
    assert isinstance(guarded, ast.If) and ast.unparse(guarded.test) == "__name__ == '__main__'"
    assert not [node for node in tree.body if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)]


def test_received_bytes_are_data() -> None:
    """No pickle, no eval, anywhere."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in product()
        for line, name in [*imports(path), *calls(path)]
        if name.partition(".")[0] in FORBIDDEN_IMPORTS | FORBIDDEN_CALLS
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_polls_with_sleep() -> None:
    """Daemons wait on events, conditions and queues, with a timeout (a client may keep a video's pace)."""
    files = [ROOT / "main.py", *sources(*(MAY_IMPORT.keys() - {"client"}))]
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in files for line, name in calls(path) if name in POLLING]
    assert not wrong, "\n".join(wrong)


def test_what_decides_does_nothing() -> None:
    """Pure modules import nothing that talks, waits or looks at a clock."""
    files = [file for place in PURE for file in ([ROOT / place] if place.endswith(".py") else sources(place))]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in files
        for line, name in imports(path)
        if name.partition(".")[0] in IMPURE_IMPORTS
    ]
    assert not wrong, "\n".join(wrong)


def test_handlers_import_heavy_libraries_only_in_their_own_modules() -> None:
    """The agent loads handlers/base.py and types to check parameters; that must not load dlib."""
    for name in ("base.py", "types.py", "codec.py"):
        found = {imported.partition(".")[0] for _, imported in imports(ROOT / "handlers" / name)}
        assert not found & {"cv2", "dlib", "face_recognition", "onnxruntime"}, name


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    """The reader finds imports inside functions and calls through modules."""
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from collector.store import write\n    time.sleep(1)\n    eval('1')\n")
    assert list(imports(file)) == [(2, "collector.store.write")]
    assert [name for _, name in calls(file)] == ["time.sleep", "eval"]
