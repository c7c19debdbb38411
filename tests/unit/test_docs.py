"""What users can set, call or read is written down."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers.base import load_class
from wire.ini import keys_of
from wire.settings import TYPES
from wire.tables import metadata

ROOT = Path(__file__).resolve().parents[2]
DOCS = "\n".join(p.read_text(encoding="utf-8") for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROUTE = re.compile(r"@\w+\.(get|post|put|delete)\(\s*\"([^\"]+)\"")
TELEMETRY = ("sys_info", "gpu_info", "proc_info", "packet_info", "link_info")


def rows(section: str) -> str:
    """Return README's rows of a config section: from its name to the next one."""
    table = README.partition("## Configuration")[2].partition("\n## ")[0]
    parts = re.split(r"^\| (?=`\[)", table, flags=re.MULTILINE)
    return next(part for part in parts if part.startswith(f"`[{section}]"))


KEYS = [(section, key) for section, kind in TYPES.items() for key in keys_of(kind)]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_config_key_is_in_its_section_of_the_table(section: str, key: str) -> None:
    assert f"`{key}`" in rows(section)


@pytest.mark.parametrize("section", TYPES)
def test_the_table_names_no_key_that_is_not_there(section: str) -> None:
    """Only the second column holds keys; defaults and words may look like them."""
    cells = [row.split("|")[1] for row in rows(section).splitlines() if row.count("|") >= 4]
    named = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}
    assert named <= set(TYPES[section].__struct_fields__)


def routes() -> Iterator[tuple[str, str]]:
    """Yield (method and path, file) of every view, with path variables as `<>`."""
    for path in [
        *ROOT.glob("coordinator/*.py"),
        *ROOT.glob("node/*.py"),
        *ROOT.glob("collector/*.py"),
        ROOT / "wire/web.py",
    ]:
        for method, rule in ROUTE.findall(path.read_text(encoding="utf-8")):
            yield f"{method.upper()} {plain(rule)}", path.name


def plain(path: str) -> str:
    """Return *path* without the names of its variables and without its query."""
    return re.sub(r"<[^>]*>", "<>", path).partition("?")[0]


@pytest.mark.parametrize(("call", "file"), sorted(set(routes())))
def test_every_endpoint_is_documented(call: str, file: str) -> None:
    documented = {plain(text) for text in re.findall(r"`((?:GET|POST|PUT|DELETE) [^`]+)`", DOCS)}
    assert call in documented


TYPE_FILES = sorted((ROOT / "config" / "handlers").glob("*.json"))


@pytest.mark.parametrize("path", TYPE_FILES, ids=[p.stem for p in TYPE_FILES])
def test_every_handler_type_and_parameter_is_documented(path: Path) -> None:
    spec = json.loads(path.read_text(encoding="utf-8"))
    assert spec["name"] in DOCS
    missing = [name for name in load_class(spec["class"]).params_type.__struct_fields__ if f"`{name}`" not in DOCS]
    assert missing == []


@pytest.mark.parametrize("table", TELEMETRY)
def test_every_telemetry_column_is_documented(table: str) -> None:
    (row,) = re.findall(
        rf"^\| `{table}` .*$", (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [column.name for column in metadata.tables[table].columns if f"`{column.name}`" not in row] == []


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("script", re.findall(r"^(scripts/\w+|\./install\.sh)", README, flags=re.MULTILINE))
def test_every_script_of_the_readme_can_be_run(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
