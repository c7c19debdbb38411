"""Parameters that name files, and URLs that lead elsewhere: what whoever makes a session can reach, and what not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from handlers.base import Context, Unavailable, load_class, read_params
from handlers.hosts import check_host, host_of, is_allowed
from handlers.places import files_of
from handlers.sources import OPTIONS_OF_FILE, OPTIONS_OF_STREAM, set_ffmpeg_options, understand
from tests.handler_support import ROOT

TRICKS = [
    "/etc/passwd", "../../../../etc/passwd", "models/../../../etc/passwd", "file:///etc/passwd", "coco.names/../../x",
    "\0", "dlib\0.dat", "..", ".", "/", "~/.ssh/id_rsa", "C:\\x", "\udcff", "\uff45tc/passwd",
    "%2e%2e%2fetc", "a" * 5000,
]  # fmt: skip

NAMES = ("targets", "gallery")  # words that never become paths: galleries are folders named by a hash (node.galleries)
REFUSED = "|".join(
    [
        "no model",
        "source has scheme",
        "weights not installed",
        "not in the folders",
        "no name of a file",
        "may not go up",
        "plain URL",
        "Invalid enum",
        "Expected `",
    ]
)


def type_files() -> list[Path]:
    return sorted((ROOT / "config/handlers").glob("*.json"))


@pytest.mark.parametrize("path", type_files(), ids=lambda path: path.stem)
def test_no_parameter_of_any_handler_type_reaches_a_file_of_its_own_choice(path: Path, tmp_path: Path) -> None:
    """Whatever text a parameter takes: it is a name that the manifest knows, or it is refused."""
    spec = json.loads(path.read_text())
    cls = load_class(spec["class"])
    context = Context(ROOT / "models", source_path=(tmp_path,), allowed_hosts=frozenset())
    texts = [f.name for f in msgspec.structs.fields(cls.params_type) if "str" in str(f.type) and f.name not in NAMES]
    for name in texts:
        for trick in TRICKS:
            with pytest.raises((Unavailable, msgspec.ValidationError), match=REFUSED):
                handler = cls(read_params(cls, spec["params"] | {name: trick}), context)
                cls.check(handler.params, context)
                handler.prepare()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that may be read, with ways out of it."""
    for name in ("in/a.jpg", "in/deep/b.jpg", "out/c.jpg", "inside-not/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "in/link.jpg").symlink_to(tmp_path / "out/c.jpg")
    (tmp_path / "in/way").symlink_to(tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["in/a.jpg", "in/../in/a.jpg", "in/*.jp[g]", "in/deep/*", "in/**/b.jpg", "in/way/../in/a.jpg"]
)
def test_a_source_in_its_folder_is_found(folder: Path, name: str) -> None:
    (folder / "in/link.jpg").unlink()
    assert files_of(f"{folder}/{name}", [folder / "in"])


@pytest.mark.parametrize(
    "name",
    ["out/c.jpg", "in/../out/c.jpg", "in/link.jpg", "in/way/c.jpg", "inside-not/d.jpg", "out/*", "in/way/*", "in/*.jpg",
     "in/*/../../out/*", "*/*", "out/none.jpg", "in/../none"],
)  # fmt: skip
def test_a_source_elsewhere_is_refused_whether_it_is_there_or_not(folder: Path, name: str) -> None:
    with pytest.raises(Unavailable, match=r"not in the folders|may not go up"):
        files_of(f"{folder}/{name}", [folder / "in"])


@pytest.mark.parametrize(
    "name",
    [
        "\0",
        "a\0.jpg",
        "\ud800.jpg",
        "x" * 5000,
        "concat:a|b",
        "rtsp:x",
        "http:/x",
        "",
        "http://[:::1",
        "rtsp://\udcaa:1",
        "p" + "[" * 900,
    ],
)
def test_what_is_no_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(Unavailable):
        understand(name, [folder / "in"])


@pytest.mark.parametrize(
    "url",
    ["http://inner\\@allowed/", "http://inner\\.allowed/", "http://allowed#@inner/", "http://inner@x@allowed/",
     "http://allowed\t@inner/", "http://allowed\n/", " http://allowed/", "http://allowed /", "http://allowed:80:90/",
     "http://ällowed/", "http:///allowed/", "http:allowed", "//allowed/", "http://", "http://[::1%25eth0]/",
     "http://allowed%2einner/", "ftp://allowed/", "file://allowed/etc/passwd", "concat:http://allowed/|x",
     "subfile,,start,0,end,9,,:/etc/passwd", "crypto+http://allowed/", "http://allowed:http://inner/"],
)  # fmt: skip
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    """Python's own parser, requests and FFmpeg do not agree on the host of each of these."""
    with pytest.raises(Unavailable):
        check_host(url, ("http", "https"), ["allowed", "x"], "tx")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://allowed/", "allowed"),
        ("https://u:p%40ss@allowed:8443/a/b?c=d&e=%20|", "allowed"),
        ("http://inner:80@allowed", "allowed"),
        ("HTTP://Allowed.lan.:1/", "Allowed.lan."),
        ("http://[::1]:80/", "::1"),
    ],
)
def test_the_host_of_a_plain_url_is_told(url: str, host: str) -> None:
    assert host_of(url, ("http", "https"), "tx") == host


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.nip.io", "::ffff:127.0.0.1", "::ffff:7f00:1",
     "64:ff9b::7f00:1", "0.0.0.0", "::", "localhost.localdomain", "169.254.169.254"],
)  # fmt: skip
def test_other_ways_to_write_an_inner_address_are_not_that_address(host: str) -> None:
    """Names are not looked up: what is written must be in the list as it is written, or lie in a network of it."""
    assert not is_allowed(host, ["10.0.0.0/8", "192.0.2.0/24", "camera.lan"])
    assert not is_allowed(host, ["fd00::/8", "127.0.0.1.evil"])


class Other:
    """An inner server that must never be asked, and an allowed one that points at it."""

    def __init__(self, video: bytes) -> None:
        self.asked: list[str] = []
        other = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                other.asked.append(self.path)
                body = other.pages.get(self.path, video)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.pages = {
            "/list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{self.url}/inner.ts\n".encode()
            + b"#EXT-X-ENDLIST\n",
            "/list.sdp": b"v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 26\n",
            "/list.txt": f"ffconcat version 1.0\nfile {self.url}/inner.ts\n".encode(),
        }
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    video = tmp_path / "v.ts"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mpg1"), 25, (64, 48))
    for _ in range(30):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    found = Other(video.read_bytes())
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.parametrize("name", ["list.m3u8", "list.sdp", "list.txt"])
@pytest.mark.parametrize("local", [False, True])
def test_a_playlist_leads_nowhere(
    other: Other, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, local: bool
) -> None:
    """Neither one from an allowed server nor one in a file."""
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    (tmp_path / name).write_bytes(other.pages[f"/{name}"])
    source = str(tmp_path / name) if local else f"{other.url}/{name}"
    if name == "list.m3u8" and not local:
        assert cv2.VideoCapture(source, cv2.CAP_FFMPEG).isOpened() and "/inner.ts" in other.asked, "it would, otherwise"
        other.asked.clear()
    set_ffmpeg_options(OPTIONS_OF_FILE if local else OPTIONS_OF_STREAM)
    assert not cv2.VideoCapture(source, cv2.CAP_FFMPEG).isOpened()
    assert "/inner.ts" not in other.asked


def test_a_plain_stream_of_an_allowed_server_is_read(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    set_ffmpeg_options(OPTIONS_OF_STREAM)
    assert cv2.VideoCapture(f"{other.url}/plain.ts", cv2.CAP_FFMPEG).read()[0]
