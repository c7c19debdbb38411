"""Model files: resumed, checked, there wholly or not at all; a wrong source never leaves a file."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from handlers import archives as module
from handlers import verified
from handlers.base import Unavailable
from handlers.fetch import download, fetch
from handlers.manifest import FetchError, Model, find, locate, manifest
from handlers.models import choose, main, verify_models

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with ranges; can cut the first answer off after so many bytes."""

    cut_after: int | None = None
    ranges = True

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.dat"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        self.send_response(206 if start else 200 if "missing" not in self.path else 404)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end, self.server.cut_after = self.server.cut_after, None
        with suppress(ConnectionError):  # a client that had enough
            self.wfile.write(CONTENT[start:end])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def model(*sources: str, sha256: str | None = None, size: int = len(CONTENT)) -> Model:
    digest = sha256 or hashlib.sha256(CONTENT).hexdigest()
    return Model(id="m", file="model.dat", bytes=size, sha256=digest, licence="none", sources=list(sources))


def ignore(have: int) -> None:
    """Take no notice of progress."""


def test_a_download_is_checked_and_reports_its_progress(server: Server, tmp_path: Path) -> None:
    seen: list[int] = []
    path = fetch(model(server.url), tmp_path / "models", seen.append)
    assert path.read_bytes() == CONTENT and seen[-1] == len(CONTENT)
    assert [p.name for p in path.parent.iterdir()] == ["model.dat"]
    fetch(model(server.url), tmp_path / "models", seen.append)
    assert len(server.asked) == 1  # it is there: nothing is asked for


def test_a_cut_off_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = 300_000
    with pytest.raises(FetchError):
        fetch(model(server.url), tmp_path, ignore)
    assert not (tmp_path / "model.dat").exists()
    assert fetch(model(server.url), tmp_path, ignore).read_bytes() == CONTENT
    assert server.asked[1] is not None and int(server.asked[1].removeprefix("bytes=").rstrip("-")) > 0


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / ".model.dat.part").write_bytes(b"x" * 1000)
    assert fetch(model(server.url), tmp_path, ignore).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="sha256"):
        fetch(model(server.url, sha256="0" * 64), tmp_path, ignore)
    assert list(tmp_path.iterdir()) == []


def test_a_server_cannot_send_more_than_the_manifest_says(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="more than"):
        fetch(model(server.url, size=1000), tmp_path, ignore)


def test_the_next_source_is_tried_and_all_reasons_are_told(server: Server, tmp_path: Path) -> None:
    missing = server.url.replace("model", "missing")
    assert fetch(model(missing, server.url), tmp_path, ignore).read_bytes() == CONTENT
    with pytest.raises(FetchError, match=r"HTTP 404.*pip"):
        fetch(model(missing, "pip:nonsense"), tmp_path / "other", ignore)


@pytest.mark.parametrize("url", ["http://example.org/m", "ftp://127.0.0.1/m", "file:///etc/passwd"])
def test_only_https_leaves_the_machine(url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="https"):
        download(url, tmp_path / "part", 10, ignore)


def test_one_file_is_taken_out_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wheel(requirement: str, folder: Path) -> Path:
        with zipfile.ZipFile(folder / "some_package-1.0-py3-none-any.whl", "w") as file:
            file.writestr("some_package/model.dat", CONTENT)
            file.writestr("some_package/__init__.py", "raise SystemExit")
        return folder / "some_package-1.0-py3-none-any.whl"

    monkeypatch.setattr(module, "pip_download", wheel)
    source = "pip:some-package==1.0:some_package/model.dat"
    assert fetch(model(source), tmp_path, ignore).read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["model.dat"]
    with pytest.raises(FetchError, match=r"other\.dat"):
        fetch(model("pip:some-package==1.0:some_package/other.dat"), tmp_path / "x", ignore)


def test_installed_packages_are_used_without_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pip_download", lambda *_: pytest.fail("downloaded"))
    wanted = find("dlib-landmarks-5")
    assert locate(wanted.id, fetch(wanted, tmp_path, ignore).parent) == tmp_path / wanted.file


def test_the_manifest_is_sound() -> None:
    models = manifest().models
    assert len({m.id for m in models}) == len({m.file for m in models}) == len(models)
    assert {m.id for m in choose([], "basic")} >= {"dlib-landmarks-5", "dlib-resnet-v1"}
    assert choose([], "none") == [] and {"all"} <= {s for m in models for s in m.sets}
    with pytest.raises(Unavailable, match="dlib-resnet-v1"):
        find("dlib-resnet-v2")


def test_verify_tells_right_wrong_and_missing(tmp_path: Path, model_path: Path) -> None:
    console = Console(record=True, width=200)
    assert verify_models([find("dlib-landmarks-5")], model_path, console) == 0
    (tmp_path / find("dlib-resnet-v1").file).write_bytes(b"x")
    assert verify_models([find("dlib-landmarks-5"), find("dlib-resnet-v1")], tmp_path, console) == 1
    text = console.export_text()
    assert "ok " in text and "missing" in text and "wrong" in text


def test_the_command_line_names_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fetch", "no-such-model", "--path", str(tmp_path)])
    assert ended.value.code == 2


def test_a_flipped_byte_is_refused_by_name_and_a_right_file_is_read_once(
    tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = find("dlib-landmarks-5")
    path = tmp_path / wanted.file
    content = (model_path / wanted.file).read_bytes()
    path.write_bytes(content)
    assert locate(wanted.id, tmp_path) == path
    with monkeypatch.context() as patch:
        patch.setattr(verified, "sha256_of", lambda _: pytest.fail("read again"))
        assert locate(wanted.id, tmp_path) == path
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(Unavailable, match=r"is damaged .*sha256.*handlers\.models fetch .*dlib-landmarks-5"):
        locate(wanted.id, tmp_path)
    path.write_bytes(content)
    assert locate(wanted.id, tmp_path) == path


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path, model_path: Path) -> None:
    wanted = find("dlib-landmarks-5")
    (tmp_path / wanted.file).write_bytes((model_path / wanted.file).read_bytes())
    (tmp_path / verified.NOTES).write_text("a file where the folder should be")
    for _ in range(2):
        assert locate(wanted.id, tmp_path).name == wanted.file
