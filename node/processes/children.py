"""A supervised child process: started, listened to, killed when stuck, started again when it dies.

    one thread per child:   launch ─▶ greeting ─▶ read messages until the process ends ─▶ back off ─▶ launch ...
                                                       │ each look: stuck? (progress file) ─▶ SIGKILL
    other threads:          send() ─▶ pipe             └─▶ hooks: ready, message, gave_up (in the child's thread)

`supervision` decides, this module does. A message to a child that is just dead is not kept: its successor gets the
greeting, which says everything.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import msgspec

from node.processes import control
from node.processes.launcher import Launched, Launcher
from node.processes.limits import private_mb
from node.processes.progress import Progress, ProgressFile
from node.processes.supervision import ChildEvent, ChildState, Deaths, transition

logger = logging.getLogger(__name__)

PREPARE_TIMEOUT_S = 300.0  # a child that is not ready by then is stuck in its preparation
LOOK_PERIOD_S = 1.0  # how often a child's progress is looked at
MEMORY_PERIOD_S = 0.25  # how often a look is taken at the memory of one that has a limit
KILL_WAIT_S = 5.0
LONGEST_REASON = 1000  # characters that a handler may say: they go into heartbeats, which have a limit, and histories


@dataclass(frozen=True, slots=True)
class Job:
    """What a child is: its target is called with (pipe, *args)."""

    name: str
    target: Callable[..., None]
    args: tuple[Any, ...]
    progress: Path | None = None  # where it says what it does
    stuck_after_s: float = 0.0  # 0: never
    memory_mb: int = 0  # that it may use; 0: any amount
    gives_up: bool = True


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the owner wants to know; all are called in the child's thread."""

    greeting: Callable[[], list[control.Message]]  # the first messages to each new process
    ready: Callable[[bool, int | None], None]  # again?, the frame to blame for the death before
    message: Callable[[Any], None]  # all other messages
    gave_up: Callable[[str], None]


class Child:
    """One place for a process, which outlives its processes."""

    def __init__(self, launcher: Launcher, job: Job, hooks: Hooks) -> None:
        self.job = job
        self._launcher = launcher
        self._hooks = hooks
        self._changed = threading.Condition()
        self._state = ChildState.STARTING
        self._sending = threading.Lock()  # one message at a time, and none before the greeting
        self._launched: Launched | None = None
        self._ending = threading.Event()
        self._deaths = Deaths(gives_up=job.gives_up)
        self._hopeless = False
        self._again = False  # a process was ready before this one
        self._blame: int | None = None
        self._since = time.monotonic()  # of the present process: its start, then its readiness
        self._why: str | None = None  # this process must die, or has said that it cannot go on
        self.restarts = 0
        self.reason: str | None = None  # of the last death, until another process is ready
        self.died: str | None = None  # the same, and then too
        self.bad_params = False  # the last one could not prepare because of its parameters
        self._thread = threading.Thread(target=self._run, name=f"child {job.name}", daemon=True)

    def __repr__(self) -> str:
        return f"<Child {self.job.name} {self._state} pid={self.pid}>"

    # --- for other threads

    @property
    def state(self) -> ChildState:
        return self._state

    @property
    def pid(self) -> int | None:
        launched = self._launched
        return launched.process.pid if launched is not None else None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def send(self, message: control.Message) -> bool:
        """Send *message*; False when there is no living process (its successor gets the greeting)."""
        with self._sending:
            return self._send(message)

    def wait_ready(self, deadline: float) -> bool:
        """Wait until RUNNING, FAILED or ENDED, or time.monotonic() is *deadline*; return whether it runs."""
        settled = (ChildState.RUNNING, ChildState.FAILED, ChildState.ENDED)
        with self._changed:
            self._changed.wait_for(lambda: self._state in settled, max(0.0, deadline - time.monotonic()))
            return self._state is ChildState.RUNNING

    def ask_to_end(self, patience_s: float) -> None:
        """Order the process to leave; follow with `end`."""
        self._ending.set()
        if self._sending.acquire(timeout=1.0):  # else its pipe is full: it reads nothing, and will be killed
            try:
                self._send(control.Shutdown(patience=patience_s))
            finally:
                self._sending.release()

    def end(self, deadline: float) -> None:
        """Wait for the end until time.monotonic() is *deadline*, then kill. Afterwards no process is left."""
        self._ending.set()
        if not self._thread.ident:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))
        while self._thread.is_alive():
            self.kill()
            self._thread.join(KILL_WAIT_S)

    def kill(self) -> None:
        """Kill the present process; unless `end` was called, another follows."""
        with self._changed:
            if self._launched is not None:
                self._launched.kill()

    # --- the child's thread

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                if not self._live():
                    return
                self._move(ChildEvent.RETRY)
                self.restarts += 1
        except Exception:
            logger.exception("supervision of %s broke", self.job.name)
        finally:
            self._move_if_ending()

    def _live(self) -> bool:
        """Run one process from start to end. Returns True when another shall follow."""
        try:
            launched = self._launch()
        except OSError as error:
            self._why = f"cannot start: {error}"
            return self._follow(None, 0.0, 0)
        try:
            self._listen(launched)
        finally:
            status, lived = self._bury(launched)
        progress = self._progress()
        return self._follow(status, lived, progress.frames if progress else 0)

    def _launch(self) -> Launched:
        if self.job.progress is not None:
            ProgressFile(self.job.progress, create=True).close()
        launched = self._launcher.launch(self.job.name, self.job.target, self.job.args)
        self._why = None
        with self._sending:
            with self._changed:
                self._since, self._launched = time.monotonic(), launched
            for message in self._hooks.greeting():
                self._send(message)
            if self._ending.is_set():
                self._send(control.Shutdown(patience=0))
        logger.info("%s started, pid %s", self.job.name, launched.process.pid)
        return launched

    def _listen(self, launched: Launched) -> None:
        """Handle messages until the process has ended or closed its pipe."""
        looked = time.monotonic()
        while True:
            ready = wait([launched.pipe, launched.ended], self._period())
            if launched.pipe in ready:
                if not self._read(launched.pipe):
                    return
            elif ready:
                return
            period, now = self._period(), time.monotonic()
            if period is not None and now - looked >= period:  # also when it never stops talking
                looked = now
                if self._must_die(launched):
                    launched.kill()

    def _read(self, pipe: Connection) -> bool:
        """Handle one message; False at the end of the pipe."""
        try:
            message = control.receive(pipe, control.from_child)
        except (EOFError, OSError):
            return False
        except msgspec.DecodeError as error:
            self._why = f"sent what is no message: {error}"
            return False
        self._handle(message)
        return True

    def _handle(self, message: Any) -> None:
        if isinstance(message, control.Ready):
            if self._state is ChildState.STARTING:
                self._became_ready()
        elif isinstance(message, control.Failed):
            self._why, self._hopeless = message.reason[:LONGEST_REASON], message.for_good
            self.bad_params = message.bad_params
        else:
            self._hooks.message(message)

    def _became_ready(self) -> None:
        again, blame = self._again, self._blame
        self._again, self._blame, self.reason = True, None, None
        with self._changed:
            self._since = time.monotonic()
        self._move(ChildEvent.READY)
        self._hooks.ready(again, blame)

    def _bury(self, launched: Launched) -> tuple[int | None, float]:
        """Make sure that the process is gone. Returns its exit status and how long it was ready, s."""
        with self._changed:
            launched.kill()  # it may have closed its pipe only
            lived = time.monotonic() - self._since if self._state is ChildState.RUNNING else 0.0
        with self._sending, self._changed:
            self._launched = None
        return self._launcher.reap(launched), lived

    def _follow(self, status: int | None, lived: float, frames: int) -> bool:
        """Note a death; wait as long as needed. Returns True when another process shall follow."""
        if self._ending.is_set():
            return False
        self._note_blame()
        self._move(ChildEvent.DIED)
        delay = None if self._hopeless else self._deaths.delay(lived, frames)
        self.reason = self.died = self._why or _cause(status, self._blame)
        if delay is None:
            logger.error("%s is given up: %s", self.job.name, self.reason)
            self._move(ChildEvent.GIVE_UP)
            self._hooks.gave_up(self.reason)
            return False
        logger.warning("%s: %s; restart in %.1f s", self.job.name, self.reason, delay)
        return not self._ending.wait(delay)

    def _note_blame(self) -> None:
        progress = self._progress()
        if progress is not None and progress.sequence is not None:
            self._blame = progress.sequence

    # --- small things

    def _send(self, message: control.Message) -> bool:
        launched = self._launched
        if launched is None:
            return False
        try:
            control.send(launched.pipe, message)
        except OSError:
            return False
        return True

    def _move(self, event: ChildEvent) -> None:
        with self._changed:
            self._state = transition(self._state, event)
            self._changed.notify_all()

    def _move_if_ending(self) -> None:
        """Leave in ENDED when asked to end, else in FAILED."""
        with self._changed:
            if self._ending.is_set():
                self._state = transition(self._state, ChildEvent.END)
            else:
                self._state = ChildState.FAILED
            self._changed.notify_all()

    def _period(self) -> float | None:
        """Return how long to listen before the next look, s; None: no look is needed."""
        if self.job.memory_mb:
            return MEMORY_PERIOD_S
        if self._state is ChildState.STARTING:
            return LOOK_PERIOD_S
        if self.job.progress is None or not self.job.stuck_after_s:
            return None
        return min(LOOK_PERIOD_S, self.job.stuck_after_s / 4)

    def _must_die(self, launched: Launched) -> bool:
        """Return True, with the reason noted, when the process must be killed."""
        return self._stuck() or self._greedy(launched)

    def _greedy(self, launched: Launched) -> bool:
        used = private_mb(launched.process.pid) if self.job.memory_mb and launched.process.pid else 0
        if used <= self.job.memory_mb:
            return False
        self._why = f"used {used} MiB of memory, more than its limit of {self.job.memory_mb} MiB (handler_memory_mb)"
        return True

    def _stuck(self) -> bool:
        """Return True, with the reason noted, when the process must be killed."""
        now = time.monotonic()
        if self._state is ChildState.STARTING:
            if now - self._since > PREPARE_TIMEOUT_S:
                self._why = f"not prepared after {PREPARE_TIMEOUT_S:.0f} s"
                return True
            return False
        progress = self._progress()
        if progress is None or progress.sequence is None or now - progress.since <= self.job.stuck_after_s:
            return False
        self._why = f"stuck with frame {progress.sequence} for {now - progress.since:.1f} s"
        return True

    def _progress(self) -> Progress | None:
        if self.job.progress is None:
            return None
        try:
            file = ProgressFile(self.job.progress)
        except (OSError, ValueError):
            return None  # not there, or just being made
        progress = file.read()
        file.close()
        return progress


def _cause(status: int | None, blame: int | None) -> str:
    """Return how a process ended, in words."""
    how = "ended" if status is None else f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return how if blame is None else f"{how} with frame {blame}"
