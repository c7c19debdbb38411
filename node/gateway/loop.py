"""The data port: one thread for all connections, and one more for each request that may have to wait.

    sockets ──────────┐                          ┌▶ task: body into its memory ─▶ completed, answered
    gateway's inbox ──┴▶ loop ─ poll heads ──────┤
    other threads ─ ring ─▶ what they want done  └▶ a thread serves the request; the connection comes back

Few threads, because each packet that changes threads costs more than all that is done with it: the interpreter lets
one of them run at a time. Nothing here blocks: what a slow peer has not sent yet is taken when it comes, what does
not fit into its socket is sent by a thread.
"""

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial

from node.gateway.server import (
    ACCEPT_PAUSE_S,
    MAX_CONNECTIONS,
    SKIP_LIMIT,
    View,
    broken,
    problem,
    redacted,
    refuse,
    serve,
)
from node.gateway.tasks import MustWait, Task
from node.transport.channel import Inbox, Waits
from node.transport.connection import Connection, body_seconds
from node.transport.http11 import PIPELINED, Disconnected, HttpError, Request
from node.transport.tls_stream import secured

log = logging.getLogger(__name__)

SWEEP_S = 0.25  # how often time-outs are looked at
BACKLOG = 64  # connections accepted in one go

Tasks = Callable[[Request], Task | None]


class Stage(Enum):
    """What comes next on a connection."""

    HEAD = 0
    BODY = 1
    SKIP = 2  # an unwanted body, then the problem
    ANSWER = 3  # somebody else must speak first


class Peer:
    """One connection in the loop."""

    __slots__ = ("connection", "deadline", "error", "heard", "number", "paused", "refused", "request", "stage", "task")

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.number = connection.socket.fileno()
        self.stage = Stage.HEAD
        self.heard = now  # monotonic s
        self.deadline = now + connection.idle_s  # of the stage, monotonic s
        self.paused = False  # it spoke out of turn: not listened to until the answer is out
        self.refused = False  # its last packet was: those that were sent behind it must not overtake it
        self.request: Request | None = None
        self.task: Task | None = None
        self.error: HttpError | None = None


class Loop:
    """Serves *listener* and *inbox*."""

    def __init__(
        self,
        listener: socket.socket,
        tasks: Tasks,
        view: View,
        inbox: Inbox | None = None,
        take: Callable[[memoryview], None] = lambda data: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """tasks: how a request is answered without waiting, if it can be; view: how a thread does; take: of the inbox.

        tls: what the port shows; None for plain HTTP.
        Neither *tasks* nor *take* may block.
        """
        self._listener = listener
        self._tasks = tasks
        self._view = view
        self._inbox = inbox
        self._take = take
        self._tls = tls
        self._peers: dict[int, Peer] = {}  # by the number of the socket
        self._lent = 0  # connections that are with threads
        self._soon: deque[Callable[[], None]] = deque()
        self._hears, self._bell = socket.socketpair()
        self._hears.setblocking(False)
        self._bell.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._hears, select.EPOLLIN)
        self._waits = None if inbox is None else Waits(inbox, self._epoll.fileno())
        self._thread = 0
        self._ended = threading.Event()
        self._accept_again = 0.0  # monotonic s; 0: accepting

    # --- from any thread -----------------------------------------------------------------------------

    def run_soon(self, work: Callable[[], None]) -> None:
        """Have *work* done by the loop, in turn."""
        self._soon.append(work)
        if threading.get_ident() != self._thread:
            with contextlib.suppress(OSError):  # full: the loop is awake already
                self._bell.send(b"!")

    def end(self) -> None:
        """Have `serve` return."""
        self._ended.set()
        self.run_soon(lambda: None)

    # --- the loop ------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve until `end`, or until the listener is closed."""
        self._thread = threading.get_ident()
        self._listener.setblocking(False)
        self._epoll.register(self._listener, select.EPOLLIN)
        swept = time.monotonic()
        try:
            while not self._ended.is_set():
                self._round()
                if (now := time.monotonic()) - swept >= SWEEP_S:
                    swept = now
                    self._sweep(now)
        finally:
            self._close()

    def _round(self) -> None:
        """Do what is to be done; wait for something only when there was nothing."""
        events = self._epoll.poll(0)
        taken = self._take_all()
        if not events and not taken and not self._soon:
            if self._waits is None:
                events = self._epoll.poll(SWEEP_S)
            else:
                self._waits.wait(SWEEP_S)
                return
        for number, event in events:
            peer = self._peers.get(number)
            if peer is not None:
                self._attend(peer, event)
            elif number == self._listener.fileno():
                self._accept()
            elif number == self._hears.fileno():
                with contextlib.suppress(BlockingIOError):
                    self._hears.recv(4096)
        while self._soon:
            self._safely(self._soon.popleft())

    def _take_all(self) -> bool:
        """Take what is in the inbox; returns whether anything was."""
        inbox, taken = self._inbox, False
        while inbox is not None and (data := inbox.receive(0)) is not None:
            taken = True
            self._safely(partial(self._take, data))
        return taken

    @staticmethod
    def _safely(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("the data port's loop")

    def _sweep(self, now: float) -> None:
        """End what takes too long, answer what is due, accept again."""
        for peer in list(self._peers.values()):
            if now > peer.deadline or (self._within(peer) and now - peer.heard > peer.connection.silence_s):
                self._overdue(peer)
        if 0 < self._accept_again <= now:
            self._accept_again = 0.0
            try:
                self._epoll.register(self._listener, select.EPOLLIN)
            except (OSError, ValueError):  # closed
                self._ended.set()

    @staticmethod
    def _within(peer: Peer) -> bool:
        """Return whether the peer owes the rest of something."""
        return peer.stage in (Stage.BODY, Stage.SKIP) or (peer.stage is Stage.HEAD and peer.connection.begun)

    def _overdue(self, peer: Peer) -> None:
        if peer.stage is Stage.ANSWER:
            self._answer(peer)
        else:
            self._drop(peer)

    def _close(self) -> None:
        for peer in list(self._peers.values()):
            self._drop(peer)
        if self._waits is not None:
            self._waits.close()
        self._epoll.close()
        self._hears.close()
        self._bell.close()

    # --- connections come and go ---------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if self._listener.fileno() < 0:
                    self._ended.set()
                    return
                log.error("cannot accept a connection: %s", error)  # the peer went away, or no file is left
                self._epoll.unregister(self._listener)
                self._accept_again = time.monotonic() + ACCEPT_PAUSE_S
                return
            if len(self._peers) + self._lent >= MAX_CONNECTIONS and not self._make_room():
                refuse(sock)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._adopt(Peer(Connection(secured(sock, self._tls)), time.monotonic()))

    def _make_room(self) -> bool:
        """Close the connection that has asked for nothing for the longest time, dripping or silent; False: none is."""
        idle = [p for p in self._peers.values() if p.stage in (Stage.HEAD, Stage.SKIP)]
        longest = min(idle, key=lambda p: (p.stage is Stage.SKIP, p.deadline), default=None)
        if longest is None:
            return False
        self._drop(longest)
        return True

    def _adopt(self, peer: Peer) -> None:
        """Listen to a connection that is new or comes back from a thread."""
        peer.connection.polled = True
        self._peers[peer.number] = peer
        self._epoll.register(peer.number, select.EPOLLIN)
        self._next(peer)
        if peer.connection.begun:
            self._attend(peer, 0)

    def _drop(self, peer: Peer) -> None:
        """Close a connection."""
        self._leave(peer)
        peer.connection.socket.close()

    def _leave(self, peer: Peer) -> None:
        if self._peers.pop(peer.number, None) is None:
            return
        if not peer.paused:
            self._epoll.unregister(peer.number)
        peer.paused = False
        task, peer.task = peer.task, None
        if task is not None and peer.stage is Stage.BODY:
            task.abandon()

    def _lend(self, peer: Peer, work: Callable[[Connection], bool]) -> None:
        """Have a thread do *work*, which may block and says whether the connection goes on after it."""
        self._leave(peer)
        peer.connection.polled = False
        self._lent += 1
        try:
            threading.Thread(target=self._borrow, args=(peer, work), name="connection", daemon=True).start()
        except RuntimeError as error:
            log.error("no thread for a connection: %s", error)
            self._lent -= 1
            refuse(peer.connection.socket)

    def _borrow(self, peer: Peer, work: Callable[[Connection], bool]) -> None:
        """In a thread: do *work*, give the connection back."""
        connection, goes_on = peer.connection, False
        try:
            connection.flush()
            goes_on = work(connection)
            if connection.must_close:
                connection.linger()
        except (Disconnected, OSError) as error:
            log.debug("connection ended: %s", error)
        except Exception:
            log.exception("connection thread")
        finally:
            self.run_soon(lambda: self._give_back(peer, goes_on))

    def _give_back(self, peer: Peer, goes_on: bool) -> None:
        self._lent -= 1
        if goes_on and not self._ended.is_set():
            self._adopt(peer)
        else:
            peer.connection.socket.close()

    # --- requests ------------------------------------------------------------------------------------

    def _attend(self, peer: Peer, event: int) -> None:
        """Take what has come from a peer."""
        peer.heard = time.monotonic()
        try:
            if peer.stage is Stage.ANSWER:
                self._out_of_turn(peer, event)
            else:
                self._advance(peer)
        except (Disconnected, OSError) as error:
            log.debug("connection ended: %s", error)
            self._drop(peer)
        except Exception:
            log.exception("connection of the data port")
            self._drop(peer)

    def _out_of_turn(self, peer: Peer, event: int) -> None:
        """A peer speaks, or will not speak again, while it is its turn to hear; it may have closed one way only."""
        if event & (select.EPOLLHUP | select.EPOLLERR):
            self._drop(peer)
        else:
            self._epoll.unregister(peer.number)
            peer.paused = True

    def _advance(self, peer: Peer) -> None:
        """Go on with a connection as far as what has come allows."""
        connection = peer.connection
        while peer.number in self._peers and peer.connection is connection:
            if peer.stage is Stage.HEAD:
                if not self._begin(peer):
                    return
            elif peer.stage is Stage.BODY:
                task = peer.task
                if task is None or not connection.poll_body(task.room):
                    return
                self._complete(peer, task)
            elif peer.stage is Stage.SKIP:
                if not connection.poll_skip():
                    return
                self._refuse(peer)
            else:
                return
            if peer.stage is Stage.HEAD and not connection.begun:
                return

    def _begin(self, peer: Peer) -> bool:
        """Read a head, and find out what is to be done; returns whether the loop goes on with that."""
        try:
            request = peer.connection.poll_request()
        except HttpError as error:
            peer.request, peer.error = None, error
            self._refuse(peer)
            return False
        if request is None:
            return False
        peer.request = request
        if request.expects_continue:
            self._to_thread(peer, request)
            return False
        try:
            peer.task = self._task(peer, request)
        except HttpError as error:
            return self._skip(peer, error)
        except Exception:
            log.exception("%s %s", request.method, redacted(request.path))
            return self._skip(peer, broken())
        if peer.task is None:
            self._to_thread(peer, request)
            return False
        peer.stage = Stage.BODY
        peer.deadline = peer.heard + body_seconds(request.content_length)
        return True

    def _task(self, peer: Peer, request: Request) -> Task | None:
        if peer.refused and PIPELINED.lower() in request.headers:
            raise HttpError(503, "the packet before this one was refused", retry_after=0.0)
        return self._tasks(request)

    def _to_thread(self, peer: Peer, request: Request) -> None:
        self._lend(peer, partial(serve, self._view, request))

    def _skip(self, peer: Peer, error: HttpError) -> bool:
        """Refuse a request; what comes of its body must be read first, when it is not too much."""
        error.close = error.close or not peer.connection.may_skip(SKIP_LIMIT)
        peer.task, peer.error = None, error
        if error.close:
            self._refuse(peer)
            return False
        peer.stage = Stage.SKIP
        peer.deadline = peer.heard + body_seconds(SKIP_LIMIT)
        return True

    def _refuse(self, peer: Peer) -> None:
        """Send the problem that a request has met."""
        error, peer.error = peer.error or broken(), None
        peer.refused = True
        problem(peer.connection, error, peer.request)
        self._finish(peer)

    def _complete(self, peer: Peer, task: Task) -> None:
        """The body is there."""
        request = peer.request
        try:
            done = task.complete(peer.connection, partial(self.run_soon, partial(self._wake, peer, task)))
        except MustWait as wait:
            self._wait_in_thread(peer, task, wait.rest)
            return
        except HttpError as error:
            self._skip(peer, error)
            return
        except Disconnected:
            raise
        except Exception:
            log.exception("%s %s", request and request.method, request and redacted(request.path))
            self._skip(peer, broken())
            return
        peer.refused = False
        if done:
            peer.task = None
            self._finish(peer)
        else:
            peer.stage, peer.deadline = Stage.ANSWER, task.due

    def _wait_in_thread(self, peer: Peer, task: Task, rest: Callable[[], None]) -> None:
        """Have a thread do the rest of a task; the connection waits for its answer meanwhile, like any other."""
        peer.stage, peer.deadline = Stage.ANSWER, task.due

        def work() -> None:
            try:
                rest()
            except HttpError as error:
                self.run_soon(partial(self._failed, peer, task, error))
            except Exception:
                log.exception("rest of a task")
                self.run_soon(partial(self._failed, peer, task, broken()))

        try:
            threading.Thread(target=work, name="rest", daemon=True).start()
        except RuntimeError as error:
            log.error("no thread for the rest of a task: %s", error)
            self._failed(peer, task, HttpError(503, "too many requests wait", retry_after=1.0))

    def _failed(self, peer: Peer, task: Task, error: HttpError) -> None:
        task.abandon()
        if peer.task is task:
            peer.task, peer.error = None, error
            self._speak(peer, self._refuse)

    def _wake(self, peer: Peer, task: Task) -> None:
        """An answer can be sent."""
        if peer.task is task and peer.stage is Stage.ANSWER:
            self._answer(peer)

    def _answer(self, peer: Peer) -> None:
        task, peer.task = peer.task, None
        if task is not None:
            self._speak(peer, lambda peer: self._answered(peer, task))

    def _answered(self, peer: Peer, task: Task) -> None:
        task.answer(peer.connection)
        self._finish(peer)

    def _speak(self, peer: Peer, answer: Callable[[Peer], None]) -> None:
        """Send what was waited for, then listen again."""
        try:
            answer(peer)
            if peer.number in self._peers and peer.connection.begun:
                self._advance(peer)
        except (Disconnected, OSError) as error:
            log.debug("connection ended: %s", error)
            self._drop(peer)
        except Exception:
            log.exception("answer of the data port")
            self._drop(peer)

    def _finish(self, peer: Peer) -> None:
        """A request was answered: the next one, or the end."""
        connection, request = peer.connection, peer.request
        goes_on = request is not None and request.keep_alive and not connection.must_close
        if connection.unsent or not goes_on:
            peer.stage = Stage.HEAD
            self._lend(peer, lambda _: goes_on)
        else:
            self._next(peer)

    def _next(self, peer: Peer) -> None:
        """Listen for the next request."""
        peer.stage, peer.heard = Stage.HEAD, time.monotonic()
        peer.deadline = peer.heard + peer.connection.idle_s
        if peer.paused:
            peer.paused = False
            self._epoll.register(peer.number, select.EPOLLIN)
