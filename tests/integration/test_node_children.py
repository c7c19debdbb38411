"""Supervision of real child processes."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from node.processes import control
from node.processes.children import LONGEST_REASON, Child, Hooks, Job
from node.processes.launcher import Launcher
from node.processes.supervision import ChildState
from tests.integration import control_child
from wire.messages import Entry, Graph, HandlerSpec, Route, SessionPlan

PLAN = SessionPlan(
    epoch=1,
    accept_from=1,
    graph=Graph(handlers=[HandlerSpec(handler_id=1, handler_type=4)]),
    local=[1],
    routes={1: [Route(node_id=1, url="http://127.0.0.1:1")]},
    entry=Entry(node_id=1, url="http://127.0.0.1:1", key="k", handler_id=1),
    results=[],
)


@dataclass
class Watched:
    """A child and what its hooks were told."""

    child: Child
    ready: "queue.Queue[tuple[bool, int | None]]" = field(default_factory=queue.Queue)
    messages: "queue.Queue[Any]" = field(default_factory=queue.Queue)
    gave_up: "queue.Queue[str]" = field(default_factory=queue.Queue)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher()
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        launcher.start()
    yield launcher
    launcher.stop()


@pytest.fixture
def watch(launcher: Launcher, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    begun: list[Watched] = []

    def begin(target: Callable[..., None], stuck_after_s: float = 0.0) -> Watched:
        progress = tmp_path / f"progress-{len(begun)}"
        job = Job("test", target, (str(progress),), progress=progress, stuck_after_s=stuck_after_s)
        watched: Watched
        hooks = Hooks(
            greeting=lambda: [control.Configure(plan=PLAN, running=True)],
            ready=lambda again, blame: watched.ready.put((again, blame)),
            message=lambda message: watched.messages.put(message),
            gave_up=lambda reason: watched.gave_up.put(reason),
        )
        watched = Watched(Child(launcher, job, hooks))
        begun.append(watched)
        watched.child.start()
        return watched

    yield begin
    for watched in begun:
        watched.child.end(time.monotonic())


def test_a_child_is_greeted_and_inherits_the_thread_and_memory_settings(watch: Callable[..., Watched]) -> None:
    watched = watch(control_child.obedient)
    assert watched.ready.get(timeout=20) == (False, None)
    telemetry = watched.messages.get(timeout=5)
    assert telemetry.queue_size == 1, "the greeting came first"
    assert telemetry.frames == len(control_child.EXPECTED), "the fork server's environment is the children's"


def test_a_child_finds_imported_what_all_need_and_no_more(watch: Callable[..., Watched]) -> None:
    """Wherever the agent was started. The shared-memory library is each process's own, and nothing has threads yet."""
    watched = watch(control_child.examined)
    watched.ready.get(timeout=20)
    telemetry = watched.messages.get(timeout=5)
    assert telemetry.frames == 1, "node.preload is not there"
    assert telemetry.queue_size == 0, "iceoryx2 is there"
    server = psutil.Process(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
    assert server.num_threads() == 1


def test_a_killed_child_is_replaced_at_once_and_the_frame_is_named(watch: Callable[..., Watched]) -> None:
    watched = watch(control_child.busy)
    watched.ready.get(timeout=20)
    pid = watched.child.pid
    assert pid is not None
    _wait(lambda: _sequence(watched) == 17)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    assert watched.ready.get(timeout=5) == (True, 17)
    assert time.monotonic() - killed < 2
    assert watched.child.pid != pid
    assert watched.child.restarts == 1
    assert watched.child.reason is None


def test_a_stuck_child_is_killed_and_treated_the_same(watch: Callable[..., Watched]) -> None:
    watched = watch(control_child.busy, stuck_after_s=0.4)
    assert watched.ready.get(timeout=20) == (False, None)
    assert watched.ready.get(timeout=5) == (True, 17)


def test_a_child_that_lacks_something_for_good_is_not_restarted(watch: Callable[..., Watched]) -> None:
    watched = watch(control_child.hopeless)
    assert watched.gave_up.get(timeout=20) == "no model"
    assert not watched.child.wait_ready(time.monotonic() + 1)
    assert watched.child.state is ChildState.FAILED
    assert watched.child.restarts == 0


def test_a_child_is_not_heard_out_for_ever(watch: Callable[..., Watched]) -> None:
    """What it says goes into heartbeats: those of a node that one handler makes too long are refused."""
    watched = watch(control_child.wordy)
    assert len(watched.gave_up.get(timeout=20)) == LONGEST_REASON
    assert watched.child.died == watched.child.reason


@pytest.mark.parametrize("target", [control_child.babbling, control_child.garbling])
def test_a_child_that_sends_nonsense_dies_of_it(watch: Callable[..., Watched], target: Callable[..., None]) -> None:
    watched = watch(target)
    _wait(lambda: watched.child.restarts >= 1)
    assert watched.child.reason is not None
    assert "no message" in watched.child.reason


@pytest.mark.parametrize(("target", "longest_s"), [(control_child.obedient, 1.0), (control_child.deaf, 3.0)])
def test_the_end_leaves_no_process(
    watch: Callable[..., Watched], target: Callable[..., None], longest_s: float
) -> None:
    watched = watch(target)
    watched.ready.get(timeout=20)
    pid = watched.child.pid
    began = time.monotonic()
    watched.child.ask_to_end(1.0)
    watched.child.end(time.monotonic() + 1.5)
    assert time.monotonic() - began < longest_s
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert watched.child.state is ChildState.ENDED
    assert not watched.child.send(control.SetRunning(running=True))


def test_children_outlive_their_fork_server_and_new_ones_still_come(watch: Callable[..., Watched]) -> None:
    watched = watch(control_child.obedient)
    watched.ready.get(timeout=20)
    pid, server = watched.child.pid, forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(server, signal.SIGKILL)
    with pytest.raises(queue.Empty):
        watched.ready.get(timeout=0.5)
    assert watched.child.pid == pid, "the death of the fork server is not the child's"
    assert watch(control_child.obedient).ready.get(timeout=20) == (False, None)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert watched.ready.get(timeout=5)[0] is True


def test_children_die_with_a_killed_agent(tmp_path: Path) -> None:
    script = f"""
import time
if __name__ == "__main__":
    from tests.integration import control_child
    from node.processes import control
    from node.processes.children import Child, Hooks, Job
    from node.processes.launcher import Launcher
    from tests.integration.test_node_children import PLAN
    launcher = Launcher(); launcher.start()
    path = {str(tmp_path / "progress")!r}
    child = Child(launcher, Job("x", control_child.obedient, (path,)),
        Hooks(lambda: [control.Configure(plan=PLAN, running=True)], lambda a, b: print(child.pid, flush=True),
              lambda m: None, lambda r: None))
    child.start(); time.sleep(60)
"""
    path = tmp_path / "agent.py"
    path.write_text(script, encoding="utf-8")
    root = Path(__file__).parents[2]
    environ = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, env=environ, cwd=root) as agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        family = [psutil.Process(agent.pid), *psutil.Process(agent.pid).children(recursive=True)]
        assert pid in [p.pid for p in family]
        agent.kill()
    _wait(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family[1:]))


def _sequence(watched: Watched) -> int | None:
    progress = watched.child._progress()
    return progress.sequence if progress else None


def _wait(condition: Callable[[], bool], patience_s: float = 5.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
