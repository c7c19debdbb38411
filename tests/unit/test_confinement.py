"""What a handler's process gets and may do: decided without one, and carried out in a real one."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.processes import landlock
from node.processes.confinement import confine_handler
from node.processes.control import ChildSettings
from node.processes.environment import for_children
from node.processes.fence import Fence, complement, fence_of
from node.processes.limits import MIB, memory_mb, private_mb
from tests.daemons import ROOT
from wire.resources import Profile, Variation
from wire.settings import load

fenced = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


def test_children_get_what_is_known_and_nothing_that_sounds_secret() -> None:
    known = {"PATH": "p", "LANG": "C", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "2"}
    kept_back = {
        "FACESERVICE_SECURITY_TOKEN": "t", "FACESERVICE_DATABASE_DB_PASSWD": "p", "AWS_SECRET_ACCESS_KEY": "k",
        "PYTHON_API_KEY": "k", "CUDA_TOKEN": "t", "SSH_AUTH_SOCK": "/tmp/s", "HTTP_PROXY": "http://u:p@h",
    }  # fmt: skip
    assert for_children(known | kept_back) == known
    assert for_children(known | kept_back | {"MY_MODELS": "m"}, ["MY_MODELS"]) == known | {"MY_MODELS": "m"}


def test_the_memory_that_a_handler_may_use_follows_its_largest_profile() -> None:
    assert memory_mb(0, Profile(mem_mb=100)) == 1424
    assert memory_mb(0, Profile(mem_mb=100, variations=[Variation(params={"model": "large"}, mem_mb=500)])) == 3024
    assert memory_mb(77, Profile(mem_mb=100)) == 77


def test_the_complement_is_everything_but_what_is_hidden(tmp_path: Path) -> None:
    """A link opens nothing: what it leads to has a place of its own."""
    for name in ("a/b/secret", "a/b/other", "a/c/deep/file", "bare/file", "bare/sub/file", "top"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a/link").symlink_to(tmp_path / "a/b")
    (tmp_path / "bare/link").symlink_to(tmp_path / "a/b/secret")
    hidden = frozenset({f"{tmp_path}/a/b/secret"})
    found = {Path(p).relative_to(tmp_path).as_posix() for p in complement(str(tmp_path), hidden, frozenset())}
    assert found == {"a/b/other", "a/c", "bare", "top"}
    found = set(complement(str(tmp_path), hidden, frozenset({f"{tmp_path}/bare"})))
    assert f"{tmp_path}/bare/sub" in found and not any(p.startswith(f"{tmp_path}/bare/file") for p in found)


def test_homes_configuration_and_secrets_are_behind_the_fence(tmp_path: Path) -> None:
    secret = tmp_path / "keys/token"
    secret.parent.mkdir()
    secret.write_text("a token")
    secret.chmod(0o600)
    config = tmp_path / "node.conf"
    own = secret.with_name("own")
    own.write_text("a node's token")
    own.chmod(0o600)
    config.write_text(
        f"[node]\nnode_id = 1\nmodel_path = {tmp_path}/models\ntoken_file = {own}\n[security]\ntoken_file = {secret}\n"
    )
    settings = load(config, {})
    fence = fence_of(settings, settings.nodes[0], tmp_path / "run", ["my_own.module:Class"])
    assert {str(config), str(secret), str(own), str(Path.home())} <= set(fence.hidden)
    assert {str(tmp_path), str(secret.parent), f"{tmp_path}/run"} <= set(fence.bare)
    assert {f"{tmp_path}/models", str(ROOT / "samples"), str(ROOT / "my_own")} <= set(fence.open)
    assert not [path for path in fence.writable if Path(path).name in ("models", "handlers", "config")]


def in_a_process(work: Callable[[], None]) -> int:
    """Run *work* in a process of its own; returns its exit status, 1 when it raises."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on with the tests
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_limits_are_set_and_memory_over_the_wall_is_refused(tmp_path: Path) -> None:
    settings = ChildSettings(node_id=1, channel_name="c", run_path=str(tmp_path), max_frame_bytes=MIB)

    def work() -> None:
        confine_handler(settings, "one", 300)
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 1024 * MIB
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 4096
        assert Path("/proc/self/oom_score_adj").read_text().strip() == "500"
        assert os.environ["TMPDIR"] == f"{tmp_path}/tmp/one"
        with pytest.raises(MemoryError):
            bytearray(700 * MIB)

    assert in_a_process(work) == 0


@fenced
def test_a_fence_lets_through_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    names = ("readable", "writable", "run", "closed")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "writable/link").symlink_to(tmp_path / "closed/file")
    fence = Fence(
        hidden=[f"{tmp_path}/closed"], bare=[f"{tmp_path}/run"], writable=[f"{tmp_path}/writable", "/not/there"]
    )
    settings = ChildSettings(node_id=1, channel_name="c", run_path=f"{tmp_path}/run", max_frame_bytes=MIB, fence=fence)

    def work() -> None:
        confine_handler(settings, "one", 0)
        assert (tmp_path / "readable/file").read_text() == "x"
        (tmp_path / "writable/new").write_text("y")
        Path(os.environ["TMPDIR"], "new").write_text("y")
        for path in ("closed/file", "run/file", "writable/link"):
            with pytest.raises(PermissionError):
                (tmp_path / path).read_text()
        for path in ("readable/file", "readable/new", "closed/new", "run/new", "writable/link"):
            with pytest.raises(PermissionError):
                (tmp_path / path).write_text("z")
        with pytest.raises(PermissionError):
            os.rename(tmp_path / "readable/file", tmp_path / "writable/stolen")
        with pytest.raises(PermissionError):
            os.truncate(tmp_path / "readable/file", 0)
        started = subprocess.run(["/bin/cat", str(tmp_path / "closed/file")], capture_output=True, check=False)
        assert started.returncode != 0, "what it starts is behind the same fence"

    assert in_a_process(work) == 0


def test_private_memory_is_counted_and_shared_memory_is_not() -> None:
    program = "import mmap; a = bytearray({a} << 20); m = mmap.mmap(-1, 300 << 20); m.write(bytes({m} << 20)); input()"
    used = []
    for own, shared in ((1, 1), (200, 1), (1, 200)):
        command = [sys.executable, "-c", program.format(a=own, m=shared) + "; print()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin and process.stdout
            while private_mb(process.pid) < own or not _asleep(process.pid):
                os.sched_yield()
            used.append(private_mb(process.pid))
            process.communicate(b"\n")
    assert used[1] - used[0] > 190
    assert abs(used[2] - used[0]) < 50
    assert private_mb(2**22 + 1) == 0, "nobody has that number"


def _asleep(pid: int) -> bool:
    return (
        Path(f"/proc/{pid}/wchan").exists()
        and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"
    )
