"""Names of galleries, what a mirror has to fetch and remove, and that the mirror's folder is all or nothing."""

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from handlers.mirrored import MARKER
from node.galleries import Galleries
from node.mirror import Mirror, Wanted, difference
from wire.client import ControlClient, PeerAway
from wire.galleries import (
    BadName,
    GalleryListing,
    LabelEntry,
    PictureEntry,
    check_name,
    media_type,
    named_gallery,
    path_of,
)

Pictures = dict[tuple[str, str], bytes]  # (label, name) -> picture


@pytest.mark.parametrize("name", ["staff", "Joe Biden", "O'Neill", "é", "李", "a.jpg", "x" * 128, "-_@+"])
def test_names_of_people_are_taken_as_they_are(name: str) -> None:
    assert check_name("label", name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "a\\b", " a", "a ", "a\nb", "a\0", "\ud800", "�", "x" * 129, "é" * 65]
)
def test_names_that_could_mislead_are_refused(name: str) -> None:
    with pytest.raises(BadName):
        check_name("name", name)


def test_nobody_is_called_unknown() -> None:
    with pytest.raises(BadName, match="everybody else"):
        check_name("label", "unknown")
    assert check_name("gallery", "unknown") == "unknown"


def test_paths_are_quoted() -> None:
    assert path_of("a b", "c/d", "é?") == "/galleries/a%20b/c%2Fd/%C3%A9%3F"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF1234WEBPVP8 ", "image/webp"),
        (b"BM1234", "image/bmp"),
        (b"RIFF1234WAVE", None),
        (b"GIF89a", None),
        (b"", None),
    ],
)
def test_a_pictures_kind_is_what_its_bytes_say(data: bytes, kind: str | None) -> None:
    assert media_type(data) == kind


def test_a_handler_names_a_gallery_by_its_parameter() -> None:
    assert named_gallery({"gallery": "staff"}) == "staff"
    assert named_gallery({"gallery": ""}) == ""
    assert named_gallery({"width": 3}) is None
    assert named_gallery({"gallery": 3}) is None


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(pictures: Pictures, version: int = 1) -> GalleryListing:
    """Names that begin with "not/" are of pictures that show others."""
    people: dict[str, LabelEntry] = {}
    for (label, name), data in pictures.items():
        entry = people.setdefault(label, LabelEntry(label=label, pictures=[]))
        kept = entry.negatives if name.startswith("not/") else entry.pictures
        kept.append(PictureEntry(name=name.removeprefix("not/"), sha256=sha(data), created=1.0))
    return GalleryListing(gallery="g", version=version, labels=list(people.values()))


def test_only_what_differs_is_fetched_and_removed() -> None:
    told = listing({("a", "1"): b"x", ("a", "2"): b"x", ("b", "1"): b"y"})
    have = [f"a/{sha(b'x')}.jpg", f"a/{sha(b'old')}.jpg"]
    assert difference(told, have) == ([Wanted("b", "1", sha(b"y"))], [f"a/{sha(b'old')}.jpg"])


def test_a_label_from_the_wire_that_is_a_path_is_refused() -> None:
    with pytest.raises(BadName):
        difference(listing({("..", "1"): b"x"}), [])


class PlayedCoordinator(ThreadingHTTPServer):
    """Serves one gallery, `g`, as the coordinator does, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.pictures: Pictures = {}
        self.version = 0
        self.spoilt: set[str] = set()  # names of pictures that are others than the listing says
        self.asked: list[tuple[str, int]] = []  # path, status
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def change(self, pictures: Pictures) -> None:
        self.pictures, self.version = pictures, self.version + 1


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayedCoordinator

    def do_GET(self) -> None:
        own, parts = self.server, [unquote(p) for p in self.path.split("/")[2:]]
        etag = f'"{own.version}"'
        if len(parts) >= 3:
            data = own.pictures.get((parts[1], "/".join(parts[2:])))
            self._answer(200 if data else 404, b"other" if parts[2] in own.spoilt else data or b"{}")
        elif parts[0] != "g":
            self._answer(404, b'{"type": "/problems/unknown-gallery"}')
        elif self.headers.get("If-None-Match") == etag:
            self._answer(304, b"")
        else:
            self._answer(200, msgspec.json.encode(listing(own.pictures, own.version)), etag)

    def _answer(self, status: int, body: bytes, etag: str = "") -> None:
        self.server.asked.append((self.path, status))
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def played() -> Iterator[PlayedCoordinator]:
    server = PlayedCoordinator()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("*/*") if p.is_file()}


def soon() -> float:
    return time.monotonic() + 10.0


def test_a_mirror_follows_and_asks_for_nothing_twice(played: PlayedCoordinator, tmp_path: Path) -> None:
    mirror = Mirror("g", tmp_path / "m", ControlClient())
    played.change({("joe b", "é 1"): b"x", ("a", "1"): b"y"})
    assert mirror.refresh(played.url, soon())
    assert files(mirror.folder) == {f"joe b/{sha(b'x')}.jpg": b"x", f"a/{sha(b'y')}.jpg": b"y"}
    mark = (mirror.folder / MARKER).read_bytes()
    assert mirror.refresh(played.url, soon())
    assert played.asked[-1] == ("/galleries/g", 304)
    assert (mirror.folder / MARKER).read_bytes() == mark
    played.change({("a", "1"): b"y", ("a", "2"): b"z"})
    before = len(played.asked)
    assert mirror.refresh(played.url, soon())
    assert [path for path, _ in played.asked[before:]] == ["/galleries/g", "/galleries/g/a/2"]
    assert files(mirror.folder) == {f"a/{sha(b'y')}.jpg": b"y", f"a/{sha(b'z')}.jpg": b"z"}
    assert not (mirror.folder / "joe b").exists()
    assert (mirror.folder / MARKER).read_bytes() != mark


def test_pictures_of_others_come_and_go_too(played: PlayedCoordinator, tmp_path: Path) -> None:
    """Also the same picture on both sides, and where only others are left."""
    mirror = Mirror("g", tmp_path / "m", ControlClient())
    x, y = sha(b"x"), sha(b"y")
    played.change({("a", "1"): b"x", ("a", "not/1"): b"x", ("a", "not/2"): b"y", ("not", "1"): b"y"})
    assert mirror.refresh(played.url, soon())
    shown = {f"a/{x}.jpg": b"x", f"not/{y}.jpg": b"y"}
    assert files(mirror.folder) == shown
    assert {p.name for p in (mirror.folder / "a/not").iterdir()} == {f"{x}.jpg", f"{y}.jpg"}
    before = len(played.asked)
    played.change({("a", "not/2"): b"y"})
    assert mirror.refresh(played.url, soon())
    assert len(played.asked) == before + 1, "nothing is fetched again"
    assert [str(p.relative_to(mirror.folder)) for p in mirror.folder.rglob("*.jpg")] == [f"a/not/{y}.jpg"]
    played.change({})
    assert mirror.refresh(played.url, soon())
    assert not (mirror.folder / "a").exists()


def test_a_picture_that_is_another_than_was_told_is_not_taken(played: PlayedCoordinator, tmp_path: Path) -> None:
    mirror = Mirror("g", tmp_path / "m", ControlClient())
    played.change({("a", "1"): b"y"})
    played.spoilt = {"1"}
    assert not mirror.refresh(played.url, soon())
    assert files(mirror.folder) == {}
    played.spoilt = set()
    assert mirror.refresh(played.url, soon()), "the listing is asked for again: no ETag was kept"
    assert list(files(mirror.folder).values()) == [b"y"]


def test_a_mirror_that_ran_out_of_time_goes_on_where_it_was(played: PlayedCoordinator, tmp_path: Path) -> None:
    mirror = Mirror("g", tmp_path / "m", ControlClient())
    played.change({("a", str(n)): bytes([n]) for n in range(3)})
    assert [mirror.refresh(played.url, 0.0) for _ in range(3)] == [False] * 3
    assert mirror.refresh(played.url, soon())
    assert len([path for path, _ in played.asked if path.startswith("/galleries/g/")]) == 3


def test_while_nobody_answers_the_mirror_stays(played: PlayedCoordinator, tmp_path: Path) -> None:
    mirror = Mirror("g", tmp_path / "m", ControlClient())
    played.change({("a", "1"): b"y"})
    mirror.refresh(played.url, soon())
    with pytest.raises(PeerAway):
        mirror.refresh("http://127.0.0.1:1", soon())
    assert list(files(mirror.folder).values()) == [b"y"]


def test_a_gallery_that_is_gone_is_empty(played: PlayedCoordinator, tmp_path: Path) -> None:
    mirror = Mirror("h", tmp_path / "m", ControlClient())
    (mirror.folder / "a").mkdir()
    (mirror.folder / "a/old.jpg").write_bytes(b"x")
    assert mirror.refresh(played.url, soon())
    assert files(mirror.folder) == {}


@pytest.fixture
def galleries(played: PlayedCoordinator, tmp_path: Path) -> Iterator[Galleries]:
    made = Galleries(None, tmp_path / "mirrors", ["http://127.0.0.1:1", played.url], ControlClient(), lambda: [(7, 2)])
    yield made
    made.stop()


def test_a_handler_starts_with_its_pictures_and_they_are_followed(
    played: PlayedCoordinator, galleries: Galleries
) -> None:
    """The first coordinator in the list is away: the second is asked, and first from then on."""
    played.change({("a", "1"): b"y"})
    folder = galleries.folder(7, 2, {"gallery": "g"})
    assert folder is not None and list(files(folder).values()) == [b"y"]
    galleries.start()
    played.change({("a", "1"): b"z"})
    deadline = time.monotonic() + 10
    while list(files(folder).values()) != [b"z"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_whose_people_a_handler_knows(galleries: Galleries, tmp_path: Path) -> None:
    named, default = galleries.folder(7, 2, {"gallery": "h"}), galleries.folder(7, 3, {"gallery": ""})
    assert named != default and default is not None and default.is_dir()
    assert galleries.folder(7, 3, {"gallery": "default"}) == default
    assert galleries.folder(7, 4, {"width": 3}) is None
    with pytest.raises(BadName):
        galleries.folder(7, 2, {"gallery": "../h"})
    own = Galleries(tmp_path, tmp_path / "mirrors", [], ControlClient(), list)
    assert own.folder(7, 2, {"gallery": ""}) == tmp_path
    assert own.folder(7, 2, {"gallery": "h"}) != tmp_path
