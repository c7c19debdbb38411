"""What the API does with sessions: checks, decides, writes, orders the nodes. Raises problems."""

import contextlib
import logging
import secrets
import time

import msgspec

from coordinator import counters, present, repair
from coordinator.accounts import carried
from coordinator.admission import Break, Refused
from coordinator.allocation import base
from coordinator.deciding import Decider, Offer
from coordinator.peers import Failure, away, reasons
from coordinator.placing import MoveFailed, Parts, Placer, new_key
from coordinator.problems import UnknownSession, WrongState, known, unplaceable, unprepared
from coordinator.records import Asked, EventRecord, Planned, SessionRecord, replace
from coordinator.requests import Reallocation
from coordinator.sessions import PLACED, Event, State, transition
from coordinator.store import StaleEpoch
from wire.database import DatabaseAway
from wire.messages import SessionRequest
from wire.web import Problem, Unprocessable

logger = logging.getLogger(__name__)

MAX_ID = 2**31 - 1  # wire.messages.Id
ATTEMPTS = 3  # placements tried when nodes prove to be away
DELETIONS = 3  # tried while another coordinator writes the same row

Json = dict[str, object]


class Sessions:
    """The sessions' side of the API."""

    def __init__(self, parts: Parts, placer: Placer) -> None:
        self._parts, self._placer, self._decider = parts, placer, Decider(parts)

    # --- asking ---------------------------------------------------------------------------------------

    def show(self, record: SessionRecord) -> Json:
        """Return a session as the API gives it."""
        return present.session(record, self._parts.registry.alive())

    def detail(self, record: SessionRecord) -> Json:
        """Return a session with what its hops were measured to cost (null while the database is away)."""
        links: present.Links = {}
        with contextlib.suppress(DatabaseAway):
            links = self._parts.store.history.known([record], time.time()).links
        return present.session(record, self._parts.registry.alive(), links)

    def get(self, session_id: int) -> SessionRecord:
        """Return the session, deleted or not. Raises UnknownSession."""
        return self._parts.held.get(session_id) or self._row(session_id)

    def page(self, after: int, limit: int, owner: str | None = None) -> list[SessionRecord]:
        """Return the sessions that are not deleted, by id; without the database those that nodes hold.

        owner: those that this client's token has made alone.
        """
        try:
            return self._parts.store.sessions([s for s in State if s is not State.DELETED], after, limit, owner)
        except DatabaseAway:
            held = [s for s in self._parts.held.all() if s.session_id > after and owner in (None, s.owner)]
            return held[:limit]

    def events(self, session_id: int, after: int, limit: int) -> list[EventRecord]:
        """Return the session's history. Raises UnknownSession."""
        self.get(session_id)
        return self._parts.store.events(session_id, after, limit)

    # --- creating -------------------------------------------------------------------------------------

    def dry_run(self, asked: SessionRequest) -> Json:
        """Return what create() would decide now. Raises Unprocessable, Unplaceable."""
        request = self._request(asked)
        offer = self._offer(asked, request, self._algorithm(asked.algorithm))
        self._check_galleries(asked, offer.plan)
        variant = offer.admitted.decision.variant.variant_name
        head: Json = {"service": request.service, "variant": variant, "dry_run": True}
        return head | present.planned(offer.plan, variant) | {"would_break": offer.admitted.displaced}

    def create(self, asked: SessionRequest, owner: str | None = None) -> SessionRecord:
        """Place, prepare and (unless told not to) start a session. Raises Unprocessable, Unplaceable, Unavailable.

        owner: the client's token that asks; None: an operator, or there are no clients' tokens.
        """
        if owner is not None:
            asked = Asked(**msgspec.structs.asdict(asked), owner=owner)
        request, algorithm = self._request(asked), self._algorithm(asked.algorithm)
        record, displaced = self._enter(asked, request, algorithm)
        with self._parts.locks.hold(record.session_id):
            try:
                self._placer.event(record, "created", service=record.service, variant=record.variant)
                record = self._prepare(record, request, algorithm)
                self._displace(record, displaced)
                return self._start(record) if asked.start else record
            except Problem as problem:
                problem.members["session_id"] = record.session_id  # whose history tells the rest
                self._give_up(record.session_id, str(problem))
                raise
            except (DatabaseAway, StaleEpoch) as error:
                self._give_up(record.session_id, str(error))
                raise

    def _enter(
        self, asked: SessionRequest, request: base.Request, algorithm: str
    ) -> tuple[SessionRecord, tuple[Break, ...]]:
        """Let the session in: from here on others see it. Returns it with whom it displaces."""
        offer = self._offer(asked, request, algorithm)
        self._check_galleries(asked, offer.plan)
        with self._parts.admission:
            try:
                self._decider.confirm(offer, request, asked.priority)
            except Refused:  # by one that came in meanwhile
                offer = self._offer(asked, request, algorithm)
            record = self._add(asked, request, offer.admitted.decision, offer.plan)
            self._parts.held.put(record)
            return record, offer.admitted.displaced

    def _displace(self, record: SessionRecord, displaced: tuple[Break, ...]) -> None:
        """Tell the sessions of a lower priority what was done to them; the controller looks for other places."""
        whys: dict[int, list[str]] = {}
        for broken in displaced:
            for session_id in broken.session_ids:
                whys.setdefault(session_id, []).append(broken.why)
        who = f"session {record.session_id} of priority {record.request.priority} came in"
        for session_id, reasons_ in whys.items():
            hurt = self._parts.held.get(session_id)
            if hurt is not None:
                self._placer.event(hurt, "degraded", cause="priority", why=f"{who}: {'; '.join(reasons_)}")
                self._parts.displaced.put(session_id)

    def _add(
        self, asked: SessionRequest, request: base.Request, decision: base.Decision, plan: Planned
    ) -> SessionRecord:
        now = time.time()
        draft = SessionRecord(
            session_id=0,
            session_key=new_key(),
            service=request.service,
            variant=decision.variant.variant_name,
            state=State.INITIALIZED,
            epoch=1,
            accept_from=1,
            request=asked,
            plan=plan,
            created=now,
            updated=now,
        )
        return self._parts.store.add_session(draft)

    def _prepare(self, record: SessionRecord, request: base.Request, algorithm: str) -> SessionRecord:
        """Bring the session to its nodes; where one proves to be away, place it again without."""
        avoid: dict[int, str] = {}
        for attempt in range(1, ATTEMPTS + 1):
            failures = self._parts.peers.prepare(record)
            if not failures:
                self._placer.event(record, "placed", placement=record.plan.placement, algorithm=algorithm)
                return record
            self._parts.peers.free(record.session_id, record.plan.nodes)
            if len(away(failures)) < len(failures) or attempt == ATTEMPTS:
                break
            avoid |= reasons(failures)
            record = self._again(record, request, algorithm, avoid, failures)
        raise unprepared(failures, record.plan.graph)

    def _again(
        self,
        record: SessionRecord,
        request: base.Request,
        algorithm: str,
        avoid: dict[int, str],
        failures: dict[int, Failure],
    ) -> SessionRecord:
        try:
            offer = self._decider.admit(algorithm, request, record.request.priority, avoid=avoid, but=record.session_id)
        except base.Unplaceable as error:
            problem = unprepared(failures, record.plan.graph)
            problem.members["reasons"] = error.reasons
            raise problem from error
        epoch, variant = record.epoch + 1, offer.admitted.decision.variant.variant_name
        return self._placer.change(record, plan=offer.plan, epoch=epoch, accept_from=epoch, variant=variant)

    def _give_up(self, session_id: int, reason: str) -> None:
        """Free the nodes and delete the session: whoever asked for it was refused, and has no session to delete.

        Reason and history stay.
        """
        record = self._parts.held.get(session_id)
        if record is None:
            return
        self._parts.peers.free(session_id, record.plan.nodes)
        try:
            failed = self._placer.change(record, state=transition(record.state, Event.FAIL), reason=reason)
            self._placer.event(failed, "failed", reason=reason)
            self._placer.event(failed, "deleted")
            self._placer.change(failed, state=transition(failed.state, Event.DELETE))
        except (DatabaseAway, StaleEpoch) as error:
            logger.warning("session %d failed (%s), which could not be written: %s", session_id, reason, error)
            self._parts.held.put(replace(record, state=State.FAILED, updated=time.time()))

    # --- changing -------------------------------------------------------------------------------------

    def start(self, session_id: int) -> SessionRecord:
        """Start an initialized session. Raises UnknownSession, InvalidTransition."""
        with self._parts.locks.hold(session_id):
            return self._start(self._current(session_id))

    def stop(self, session_id: int) -> SessionRecord:
        """Stop a running session; its nodes keep it until it is deleted. Raises UnknownSession, InvalidTransition."""
        with self._parts.locks.hold(session_id):
            return self._placer.stop(self._current(session_id))

    def delete(self, session_id: int) -> None:
        """Delete a session and free its nodes; again when it is deleted already. Raises UnknownSession."""
        with self._parts.locks.hold(session_id):
            for _ in range(DELETIONS - 1):
                with contextlib.suppress(StaleEpoch):
                    return self._delete(self._current(session_id))
            self._delete(self._current(session_id))

    def reallocate(self, session_id: int, asked: Reallocation) -> SessionRecord:
        """Place a session anew by what *asked* changes; only what differs moves. Raises problems, InvalidTransition."""
        with self._parts.locks.hold(session_id):
            record = self._current(session_id)
            if record.state not in PLACED:
                detail = f"session {session_id} is {record.state}: its handlers run nowhere any more; create another"
                raise WrongState(detail)
            wish = asked.over(record.request)
            self._parts.catalogue.check_ids(wish, record.plan.graph)
            self._check_nodes(wish)
            request = self._parts.catalogue.request_again(record, wish, seed=secrets.randbits(31))
            algorithm = self._algorithm(asked.algorithm or record.plan.algorithm)
            lost = repair.lost_nodes(record.plan, self._parts.registry.alive())
            plan = self._decide(algorithm, request, repair.surviving(record.plan, lost, ()))
            if not repair.moves(record.plan, plan):
                plan = carried(record.plan, replace(plan, nodes=record.plan.nodes), None, "")
                return self._placer.change(record, request=wish, plan=plan)
            try:
                return self._placer.moved(record, plan, "reallocated", request=wish)
            except MoveFailed as error:
                raise unprepared(error.failures, plan.graph) from error

    def _current(self, session_id: int) -> SessionRecord:
        """Return the session as the database has it: another coordinator may have changed it a moment ago. The caller
        holds its lock. Raises UnknownSession.
        """
        found = self._row(session_id)
        self._parts.held.put(found)
        return found

    def _row(self, session_id: int) -> SessionRecord:
        found = self._parts.store.session(session_id) if session_id <= MAX_ID else None  # larger: fits no column
        if found is None:
            raise UnknownSession(f"there is no session {session_id}")
        return found

    def _delete(self, record: SessionRecord) -> None:
        if record.state is not State.DELETED:
            record = self._placer.change(record, state=transition(record.state, Event.DELETE))
            self._placer.event(record, "deleted")
        self._parts.peers.free(record.session_id, record.plan.nodes)

    def _start(self, record: SessionRecord) -> SessionRecord:
        record = self._placer.change(record, state=transition(record.state, Event.START))
        self._placer.event(record, "started")
        self._parts.peers.start(record)  # one that is away follows by its heartbeat's answer
        return record

    # --- checking -------------------------------------------------------------------------------------

    def _request(self, asked: SessionRequest) -> base.Request:
        request = self._parts.catalogue.request(asked, seed=secrets.randbits(31))
        self._check_nodes(asked)
        return request

    def _check_nodes(self, asked: SessionRequest) -> None:
        ids = {n.node_id for n in self._parts.registry.records()} | {n.node_id for n in self._parts.catalogue.nodes}
        for handler_id, nodes in asked.pin.items():
            known(nodes if isinstance(nodes, list) else [nodes], ids, f"/pin/{handler_id}")
        known([] if asked.entry_node is None else [asked.entry_node], ids, "/entry_node")

    def _check_galleries(self, asked: SessionRequest, plan: Planned) -> None:
        self._parts.galleries.check_used(plan.graph.handlers, self._parts.catalogue.types, asked)

    def _algorithm(self, name: str | None) -> str:
        name = name or self._parts.settings.algorithm
        if name not in self._parts.algorithms:
            detail = f"there is no algorithm {name!r}, only {', '.join(sorted(self._parts.algorithms))}"
            raise Unprocessable(detail, pointer="/algorithm")
        return name

    def _offer(self, asked: SessionRequest, request: base.Request, algorithm: str) -> Offer:
        others = self._parts.catalogue.other_variants(asked, request)
        try:
            return self._decider.admit(algorithm, request, asked.priority, others=others)
        except base.Unplaceable as error:
            problem = unplaceable(error)
            counters.REFUSALS.labels(problem.slug).inc()
            raise problem from error

    def _decide(self, algorithm: str, request: base.Request, current: base.Placement | None = None) -> Planned:
        try:
            return self._decider.decide(algorithm, request, current)[1]
        except base.Unplaceable as error:
            raise unplaceable(error) from error
