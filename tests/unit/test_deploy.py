"""What deploy/ holds is checked by the tools that would read it, where they can be had, and against the product."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from coordinator.counters import DECISION
from coordinator.figures import Figures
from tests.unit.test_figures import ROWS
from tests.unit.test_node_figures import busy_node, figures_of
from wire import metrics
from wire.settings import TYPES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
COMPOSE = sorted(DEPLOY.glob("docker/compose*.yaml"))
NAME = re.compile(r"\bfaceservice_[a-z_]+")
VARIABLE = re.compile(r"\bFACESERVICE_([A-Z]+)_([A-Z_]+)\b")


def known_metrics() -> set[str]:
    registry = CollectorRegistry()
    registry.register(Figures(lambda: ROWS, lambda: True))
    registry.register(figures_of(busy_node()))
    import_module("collector.counters")  # registers what it counts
    DECISION.labels("layered_dp")
    metrics.observe("GET", "/", 200, 0.1)
    return set(NAME.findall(generate_latest(registry).decode() + metrics.text().decode()))


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    board = json.loads((DEPLOY / "grafana/faceservice.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])


@pytest.mark.parametrize("expr", list(expressions()))
def test_alerts_and_panels_name_metrics_that_there_are(expr: str) -> None:
    assert set(NAME.findall(expr)) <= known_metrics()
    assert expr.count("(") == expr.count(")")


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert rule["for"] and rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_promtool_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(DEPLOY / "prometheus/alerts.yaml")], check=True, timeout=60)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_manifests_fit_the_schema(path: Path) -> None:
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_pass_systemds_own_check(path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if path.name in line]  # not of other units of the machine
    assert said == []


@pytest.mark.parametrize("path", [*MANIFESTS, *COMPOSE], ids=lambda p: p.name)
def test_variables_are_keys_of_the_configuration(path: Path) -> None:
    for section, key in VARIABLE.findall(path.read_text()):
        assert key.lower() in TYPES[section.lower()].__struct_fields__, f"FACESERVICE_{section}_{key}"


def services(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["services"]
    return found


def test_compose_services_depend_on_what_there_is_and_are_locked_in() -> None:
    found = services(DEPLOY / "docker/compose.yaml")
    for name, service in found.items():
        assert set(service.get("depends_on", {})) <= set(found), name
        if name != "database":
            assert service["cap_drop"] == ["ALL"]
            assert service["read_only"]
        if name.startswith("node"):
            assert service["shm_size"]
    assert set(services(DEPLOY / "docker/compose.gpu.yaml")) <= set(found)


@pytest.mark.parametrize("files", [COMPOSE[-1:], COMPOSE[::-1]], ids=lambda files: "+".join(f.stem for f in files))
def test_compose_takes_its_files(files: list[Path], tmp_path: Path) -> None:
    command = compose_command()
    if command is None:
        pytest.skip("no docker compose here")
    arguments = []
    for path in files:
        text = path.read_text()
        if command == ["docker-compose"]:  # 1.29 knows all of it but the name
            text = re.sub(r"^name:.*\n", "", text, flags=re.MULTILINE)
        copy = tmp_path / "deploy/docker" / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
        arguments += ["-f", str(copy)]
    for secret in re.findall(r"file: \./(\S+)", files[0].read_text()):
        (tmp_path / "deploy/docker" / secret).touch()
    done = subprocess.run(
        [*command, *arguments, "config", "-q"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def compose_command() -> list[str] | None:
    """Return how compose is called here: as docker's plug-in, or the older program of its own."""
    if (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, timeout=20, check=False
        ).returncode
    ):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def test_a_node_without_a_number_takes_one_from_its_name(tmp_path: Path) -> None:
    """The entry script of the image, with a main.py that only says what it was given."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\necho "$FACESERVICE_NODE_NODE_ID" "$@"\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)

    def given(**environ: str) -> str:
        script = str(DEPLOY / "docker/entrypoint.sh")
        done = subprocess.run(
            ["sh", script, "x.conf"],
            cwd=tmp_path,
            env=environ | {"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return done.stdout.strip()

    one, other = given(FACESERVICE_NODE_NODE_NAME="worker-1"), given(FACESERVICE_NODE_NODE_NAME="worker-2")
    assert one.endswith("main.py x.conf")
    assert 1 <= int(one.split()[0]) < 2**31
    assert one != other
    assert given(FACESERVICE_NODE_NODE_NAME="worker-1", FACESERVICE_NODE_NODE_ID="7").startswith("7 ")
