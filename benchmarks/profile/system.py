"""The product with one node, for measuring variants: photos go to session URLs, results come back as JSON."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import requests

from benchmarks.cluster import Cluster, free_ports, started
from benchmarks.common import ROOT
from benchmarks.profile.detections import Area
from benchmarks.profile.variants import RECOGNITION, showing_service
from wire.resources import load_services

NODES = {"only": 1}
PATIENCE_S = 170  # for one frame; MMOD on a doubled photo takes some 10 s on a busy core
CONFIG = """
[coordinator]
coordinator_port = {coordinator}
node_path = {folder}/nodes
handler_type_path = {folder}/handlers
service_type_path = {folder}/services

[node only]
node_id = 1
node_port = {control}
data_port = {data}
coordinator_url = http://127.0.0.1:{coordinator}
handler_type_path = {folder}/handlers
gallery_path = {root}/samples/gallery
handler_timeout = {patience}

[reporter]
enabled = no

[database]
db_engine = sqlite
db_path = {folder}/faceservice.sqlite
"""
MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}


class FrameFailed(Exception):
    """A posted frame has no result."""


class Poster:
    """Posts pictures to a session URL, one at a time, over a kept connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.trust_env = False

    def __call__(self, data: bytes, media_type: str = "image/jpeg") -> dict[str, Any]:
        """Return the result of a picture. Raises FrameFailed, with the reason."""
        headers = {"Content-Type": media_type, "Prefer": f"wait={PATIENCE_S}"}
        answer = self._http.post(self._url, data=data, headers=headers, timeout=PATIENCE_S + 10)
        if answer.status_code != 200:
            raise FrameFailed(f"HTTP {answer.status_code}: {answer.text[:300]}")
        result: dict[str, Any] = answer.json()
        return result

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@contextmanager
def running() -> Iterator[Cluster]:
    """Start a coordinator and a node that know the shipped services and handler types, and those that measure."""
    folder = Path(tempfile.mkdtemp(prefix="faceservice-profile-"))
    for name in ("handlers", "services", "nodes"):
        (folder / name).mkdir()
    for source in (ROOT / "config" / "handlers", ROOT / "benchmarks" / "config" / "handlers"):
        for file in source.glob("*.json"):
            shutil.copy(file, folder / "handlers")
    for file in (ROOT / "config" / "services").glob("*.json"):
        shutil.copy(file, folder / "services")
    for service in load_services(ROOT / "config" / "services"):
        if service.service_name == RECOGNITION:
            body = msgspec.json.encode(showing_service(service))
            (folder / "services" / "vectors.json").write_bytes(body)
    config = folder / "profile.conf"
    ports = free_ports(("coordinator", "control", "data"))
    config.write_text(CONFIG.format(folder=folder, root=ROOT, patience=PATIENCE_S, **ports))
    with started(folder, config, NODES, others=1) as cluster:
        yield cluster


@contextmanager
def session(
    cluster: Cluster, service: str, variant: str, params: Mapping[int, dict[str, Any]] | None = None
) -> Iterator[tuple[Poster, int]]:
    """Run *variant* of *service* for the length of the block; yields what posts to it, and its session_id."""
    with cluster.session(service, {}, variant=variant, params=dict(params or {})) as made:
        post = Poster(made.session_url)
        try:
            yield post, made.session_id
        finally:
            post.close()


def media_type(path: Path) -> str:
    """Return the media type of a picture's file."""
    return MEDIA_TYPES[path.suffix.lower()]


def areas(result: Mapping[str, Any]) -> list[Area]:
    """Return the boxes of a result."""
    return [Area(b["x"], b["y"], b["w"], b["h"], b["score"]) for b in result["boxes"]]
