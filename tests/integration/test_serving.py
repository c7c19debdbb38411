"""Daemons' processes for real: gunicorn, the supervisor, main.py, each with tiny daemons of the test's own."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.daemons import ROOT, Daemon, run, start
from wire.client import ControlClient, PeerAway, PeerError
from wire.credential import Credential
from wire.serving import PortInUse, bind

WAIT_S = 10.0

# A Flask app on gunicorn, as coordinator and collector are.
TINY = """
    import os, sys, time
    from flask import request
    from wire.guard import Access, Guard
    from wire.serving import bind, serve, url_of
    from wire.web import NotFound, create_app, encode

    def make():
        app = create_app("tiny", guard=Guard(Access()), ready=lambda: (True, {}))
        @app.get("/pid")
        def pid():
            return encode(os.getpid())
        @app.get("/slow")
        def slow():
            time.sleep(1.0)
            return encode("slow")
        @app.route("/echo", methods=["PUT", "POST", "DELETE"])
        def echo():
            return encode([request.method, request.get_json(silent=True)])
        @app.get("/missing")
        def missing():
            raise NotFound("no such thing as this")
        return app

    if __name__ == "__main__":
        listener = bind("127.0.0.1", 0)
        line = "coordinator ready on " + url_of(listener, "127.0.0.1")
        sys.exit(serve(make, listener, workers=int(sys.argv[1]), threads=4, ready_line=line))
"""

# What the supervisor starts: `--only UNIT --parent PID`; says what it was told by the environment.
UNIT = """
    import os, signal, sys, threading
    from wire.serving import bind, die_with_parent, url_of
    unit, parent = sys.argv[3], int(sys.argv[5])
    die_with_parent(parent, signal.SIGTERM)
    if os.environ.get("TEST_FAIL") == unit:
        sys.exit(3)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    port = int(os.environ.get("FACESERVICE_COORDINATOR_COORDINATOR_PORT", 0)) if unit == "coordinator" else 0
    url = url_of(bind("127.0.0.1", port), "127.0.0.1")
    name = {"node:edge": "node 1", "node:server": "node 2"}.get(unit, unit)
    told = os.environ.get("FACESERVICE_NODE_EDGE_COORDINATOR_URL", url)
    print(f"{name} ready on {url}" + (f", frames on {told}" if name[:4] == "node" else ""), flush=True)
    print(unit, os.getpid(), file=sys.stderr, flush=True)
    while not done.wait(0.5):
        pass
"""
CONFIG = """
[coordinator]
coordinator_port = 0
[node edge]
node_id = 1
[node server]
node_id = 2
node_port = 0
data_port = 0
"""


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def launch(folder: Path, command: list[str], **environ: str) -> Daemon:
    log = folder / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            process_group=0,
        )
    daemon = Daemon(process, log)
    daemon.follow()
    return daemon


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Daemon]:
    daemon = launch(tmp_path, [str(script(tmp_path, "tiny.py", TINY)), "2"]).wait_ready()
    yield daemon
    daemon.kill()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Daemon]:
    daemon = launch_supervisor(tmp_path)
    yield daemon
    daemon.kill()


def launch_supervisor(folder: Path, **environ: str) -> Daemon:
    unit = script(folder, "unit.py", UNIT)
    config = folder / "test.conf"
    config.write_text(CONFIG)
    program = f"""
        import os, sys
        from pathlib import Path
        from wire.settings import load
        from wire.supervisor import Supervisor
        settings = load(Path({str(config)!r}), {{}})
        sys.exit(Supervisor(settings, [sys.executable, {str(unit)!r}, "config"], os.environ).run())
    """
    return launch(folder, [str(script(folder, "supervisor.py", program))], **environ)


def gone(processes: list[psutil.Process], timeout: float = WAIT_S) -> bool:
    return not psutil.wait_procs(processes, timeout=timeout)[1]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered_before_an_orderly_end(tiny: Daemon, signum: int) -> None:
    with requests.get(f"{tiny.url}/pid", timeout=5) as answer:
        assert answer.json() != tiny.process.pid, "a worker answers, not the arbiter"
    with subprocess.Popen(["curl", "-s", f"{tiny.url}/slow"], stdout=subprocess.PIPE, text=True) as client:
        address = tiny.url.removeprefix("http://").split(":")
        assert _connected(client.pid, int(address[1]))
        tiny.stop(signum)
        assert client.communicate(timeout=5)[0] == '"slow"'


def _connected(pid: int, port: int) -> bool:
    """Wait until process *pid* has sent its request to *port*."""
    for _ in range(1000):
        links = psutil.Process(pid).net_connections(kind="tcp")
        if any(link.raddr and link.raddr.port == port and link.status == "ESTABLISHED" for link in links):
            return True
    return False


def test_workers_die_with_a_killed_arbiter(tiny: Daemon) -> None:
    workers = psutil.Process(tiny.process.pid).children()
    assert workers
    tiny.process.kill()
    assert gone(workers, timeout=2)


def test_a_killed_worker_is_replaced(tiny: Daemon) -> None:
    workers = psutil.Process(tiny.process.pid).children()
    assert workers
    for worker in workers:
        worker.kill()
    assert requests.get(f"{tiny.url}/pid", timeout=WAIT_S).json() not in [worker.pid for worker in workers]
    tiny.stop()


def test_a_port_in_use_is_named() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is in use"):
            bind("127.0.0.1", port)


def test_the_control_client_tells_away_from_refused(tiny: Daemon) -> None:
    client = ControlClient(Credential("t"))
    assert client.put(f"{tiny.url}/echo", {"a": 1}) == b'["PUT",{"a":1}]'
    assert client.delete(f"{tiny.url}/echo") == b'["DELETE",null]'
    with pytest.raises(PeerError, match="no such thing as this") as refused:
        client.get(f"{tiny.url}/missing")
    assert (refused.value.status, refused.value.problem["type"]) == (404, "/problems/not-found")
    with pytest.raises(PeerAway, match="no answer in time"):
        client.get(f"{tiny.url}/slow", timeout=0.2)
    tiny.stop()
    with pytest.raises(PeerAway, match="refused"):
        client.get(f"{tiny.url}/pid")


def test_the_control_client_survives_a_kept_connection_that_was_closed() -> None:
    """A peer that restarted between two calls is not away."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    program = f"""
        import socket
        server = socket.socket(fileno={server.fileno()})
        first, _ = server.accept()
        first.recv(65536), first.sendall({answer!r})
        first.recv(65536), first.close()
        second, _ = server.accept()
        second.recv(65536), second.sendall({answer!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    peer = subprocess.Popen(command, pass_fds=[server.fileno()])
    try:
        client = ControlClient()
        assert client.get(url) == b"ok"
        assert client.get(url) == b"ok", "closed under the second request, sent again"
        client.close()
        assert peer.wait(WAIT_S) == 0
    finally:
        peer.kill()
        peer.wait(WAIT_S)
        server.close()


def test_the_supervisor_starts_the_nodes_last_and_tells_them_the_port(supervised: Daemon) -> None:
    supervised.wait_ready(3)
    assert supervised.ready[0].name == "coordinator"
    assert {ready.data_url for ready in supervised.ready[1:]} == {supervised.ready[0].url}
    supervised.stop()


def test_a_supervised_daemon_that_dies_comes_back_to_its_port(supervised: Daemon) -> None:
    supervised.wait_ready(3)
    _unit(supervised, "coordinator").kill()
    supervised.wait_ready(4)
    assert supervised.ready[3].url == supervised.ready[0].url
    supervised.stop()


def test_supervised_daemons_die_with_a_killed_supervisor(supervised: Daemon) -> None:
    supervised.wait_ready(3)
    children = psutil.Process(supervised.process.pid).children()
    assert len(children) == 3
    supervised.process.kill()
    assert gone(children)


def test_a_daemon_that_cannot_start_ends_all_with_its_status(tmp_path: Path) -> None:
    supervisor = launch_supervisor(tmp_path, TEST_FAIL="node:server")
    assert supervisor.process.wait(WAIT_S) == 3
    assert not supervisor.members()
    supervisor.kill()


def _unit(supervisor: Daemon, name: str) -> psutil.Process:
    children = psutil.Process(supervisor.process.pid).children()
    return next(child for child in children if name in child.cmdline())


def test_main_says_each_fault_in_a_line_and_exits_2(tmp_path: Path) -> None:
    config = tmp_path / "bad.conf"
    config.write_text("[coordinator]\ncoordinator_port = x\nhart = 1\n")
    ended = run(str(config))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert [line.partition(": ")[0] for line in ended.stderr.splitlines()] == [str(config)] * 2
    assert run(str(tmp_path / "none.conf"), "--check").returncode == 2


def test_check_reads_the_resource_files_too(tmp_path: Path) -> None:
    config = tmp_path / "test.conf"
    config.write_text(f"[coordinator]\nservice_type_path = {tmp_path}\n")
    fine = run(str(config), "--check")
    assert (fine.returncode, fine.stderr) == (0, "") and "coordinator" in fine.stdout
    (tmp_path / "broken.json").write_text("{")
    broken = run(str(config), "--check")
    assert broken.returncode == 2 and "broken.json" in broken.stderr and len(broken.stderr.splitlines()) == 1


def test_check_tells_what_a_start_would(tmp_path: Path) -> None:
    """A service whose graph cannot run, and an algorithm that is not there, both at once."""
    config = tmp_path / "test.conf"
    config.write_text(f"[coordinator]\nservice_type_path = {tmp_path}\nalgorithm = leest_loaded\n")
    graph = {"variant_name": "one", "handlers": [{"handler_id": 0, "handler_type": 99999}]}
    (tmp_path / "odd.json").write_text(json.dumps({"service_id": 1, "service_name": "odd", "variants": [graph]}))
    found = run(str(config), "--check")
    assert found.returncode == 2 and len(found.stderr.splitlines()) == 2, found.stderr
    assert "no handler type 99999" in found.stderr and "did you mean 'least_loaded'?" in found.stderr


@pytest.mark.parametrize("name", ["demo", "node"])
def test_the_shipped_configurations_are_right(name: str) -> None:
    ended = run(str(ROOT / "config" / f"{name}.conf"), "--check")
    assert ended.returncode == 0, ended.stderr


def test_only_starts_one_of_the_daemons_there_are(tmp_path: Path) -> None:
    ended = run(str(ROOT / "config/demo.conf"), "--only", "node:none")
    assert ended.returncode == 2 and "node:edge, node:server" in ended.stderr


def test_help_and_version_need_no_configuration() -> None:
    assert "CONFIG" in run("--help").stdout
    assert run("--version").stdout.startswith("FaceService ")
    assert run().returncode == 2


def test_a_collector_whose_port_is_taken_exits_3_and_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "collector.conf"
        config.write_text(f"[collector]\ncollector_port = {port}\n[database]\ndb_path = {tmp_path}/x.sqlite\n")
        daemon = start(config, tmp_path)
        assert daemon.process.wait(WAIT_S) == 3
    assert f"port {port} on 127.0.0.1 is in use" in daemon.log.read_text()


def test_a_real_collector_starts_and_ends_in_order(collector: Daemon) -> None:
    assert requests.get(f"{collector.url}/readyz", timeout=5).json()["status"] == "ready"
