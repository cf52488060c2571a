"""What becomes of a turn: committed, asked again, run again, or set aside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from appliance import faults
from appliance.dispatcher.backlog import Backlog
from appliance.dispatcher.callers import Callers, Conversed
from appliance.dispatcher.framing import Outcome
from appliance.dispatcher.mailboxes import Mailboxes, Pending
from appliance.message import Inbound, InboundState
from appliance.store import inbound as inbound_rows
from appliance.store import turns
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.inbound import Accepted
from appliance.store.outbound import QueuedRow
from appliance.store.sessions import SessionRow
from appliance.store.store import Store
from appliance.store.turns import Committed, Discarded, Stale, TurnRefused, TurnWork

__all__ = ["STRIKES", "Settler"]

logger = logging.getLogger(__name__)

REFUSALS: Final = 3  # how often an app may be called again for a refused effect
STRIKES: Final = 2  # failed turns after which a message is set aside
CLOCK_SET_MS: Final = 60_000  # beyond what a turn can take, nearly always
RETRY_S: Final = 0.5  # pause before a turn that the disk or a reader failed


class Settler:
    """Brings outcomes to disk. on_outbound gets the rows put on the queue; on_ready: work can be given out.

    Each method takes a message that no worker has any more, and sees it to its end or back to its mailbox.
    """

    def __init__(
        self,
        store: Store,
        boxes: Mailboxes,
        backlog: Backlog,
        callers: Callers,
        *,
        on_outbound: Callable[[Sequence[QueuedRow]], None],
        on_ready: Callable[[], None],
        clock_ms: Callable[[], int],
        apologies: Mapping[str, str],
        reply_route: Callable[[Inbound], str],
    ) -> None:
        self.committing = 0  # ops handed to the writer and not answered
        self.handled = 0
        self.set_aside = 0
        self.stopping = False
        self._store = store
        self._boxes = boxes
        self._backlog = backlog
        self._callers = callers
        self._on_outbound = on_outbound
        self._on_ready = on_ready
        self._clock_ms = clock_ms
        self._apologies = apologies
        self._reply_route = reply_route

    def commit(self, pending: Pending, outcome: Outcome) -> None:
        """A turn went well as far as the app is concerned: put it on disk."""
        if pending.void:
            self._finished(pending, pending.id, "", None)
            return
        if pending.persisting:
            pending.then = lambda: self.commit(pending, outcome)
            return
        if abs(self._clock_ms() - pending.now_ms) > CLOCK_SET_MS and not pending.again:
            # The clock was set while the turn was run: its session and holds would end in another year. A
            # turn is pure, so it is run again; once, since this may also be a machine that stood still.
            pending.again, pending.attempt = True, 0
            self._boxes.put_back(pending)
            self._on_ready()
            return
        session = None
        if outcome.body:
            session = SessionRow(
                outcome.app, outcome.state, outcome.body, outcome.expires_at_ms, outcome.wake_at_ms
            )
        draft = pending.id < 0
        pending.answering = draft or pending.id in self._callers
        work = TurnWork(
            pending.id,
            pending.inbound.sender,
            pending.now_ms,
            session,
            outcome.replies,
            outcome.effects,
            pending.answering,
            self._reply_route(pending.inbound),
        )
        self.committing += 1

        def done(value: Any, error: BaseException | None) -> None:
            self._committed(pending, work, value, error)

        if draft:
            self._store.writer.post(turns.converse, (pending.inbound, self._store.judge_caller, work), done)
        else:
            self._store.writer.post(turns.commit_turn, (work,), done)

    def _committed(self, pending: Pending, work: TurnWork, value: Any, error: BaseException | None) -> None:
        self.committing -= 1
        if faults.armed:
            faults.hit("dispatcher.committed")
        if isinstance(value, Committed):
            if value.queued:
                self._on_outbound(value.queued)
            if pending.is_draft:
                self.tell(pending, Conversed(value.inbound_id, False, InboundState.HANDLED, value.answers))
            self._finished(pending, value.inbound_id, "handled", value.answers)
            if work.session is not None and self._store.feed:
                self._store.feed.publish({"kind": "session", "id": work.sender, "state": work.session.state})
        elif isinstance(value, Stale):
            self._finished(pending, pending.id, "", None)
        elif isinstance(value, Discarded):
            self.tell(pending, value.accepted)
            self._finished(pending, value.accepted.id, str(value.accepted.state), None)
        elif isinstance(value, TurnRefused):
            pending.answering = False
            if pending.attempt >= REFUSALS:
                refused = f"effect {value.effect} was refused {pending.attempt + 1} times: {value.reason}"
                self.strike(pending, refused, STRIKES)
                return
            pending.attempt += 1
            pending.effect, pending.reason, pending.detail = value.effect, value.reason, value.detail
            self._boxes.put_back(pending)
            self._on_ready()
        elif isinstance(error, StoreError):
            pending.answering = False
            if pending.is_draft:
                self.tell(pending, error)  # nothing is stored, so nothing is promised
                self._finished(pending, pending.id, "", None)
            elif not isinstance(error, StoreClosed):
                self.again_later(pending)
        else:
            pending.answering = False
            logger.error("a turn could not be committed: %s", type(error).__name__, exc_info=error)
            self.strike(pending, f"the commit failed: {type(error).__name__}", STRIKES)

    def _finished(self, pending: Pending, inbound_id: int, state: str, answers: list[str] | None) -> None:
        self._backlog.size = max(0, self._backlog.size - 1)
        self.handled += 1
        if inbound_id in self._callers:
            self._callers.answer(inbound_id, answers if pending.answering else None)
        box = self._boxes.finish(pending)
        if box is not None:
            self._backlog.fill(box)
        if state and self._store.feed:
            self._store.feed.publish({"kind": "in", "id": inbound_id, "state": state})
        self._on_ready()

    def tell(self, pending: Pending, outcome: Accepted | Conversed | BaseException) -> None:
        """A draft's caller learns what became of it; he may have gone."""
        caller = pending.caller
        if caller is None or caller.done():
            return
        if isinstance(outcome, BaseException):
            caller.set_exception(outcome)
        else:
            caller.set_result(outcome)

    def persist(self, pending: Pending, then: Callable[[], None] | None = None) -> None:
        """Put a draft on disk by itself: its caller's time is up, or its turn failed. Then call `then`."""
        if then is not None:
            pending.then = then
        if not pending.is_draft or pending.persisting or pending.answering or pending.void:
            return
        pending.persisting = True

        def done(value: Accepted | None, error: BaseException | None) -> None:
            self.committing -= 1
            pending.persisting = False
            following, pending.then = pending.then, None
            if value is not None and not value.duplicate and value.state is InboundState.ACCEPTED:
                self._boxes.stored(pending, value.id)
                self.tell(pending, value)
                if self._store.feed:
                    self._store.feed.publish({"kind": "in", "id": value.id, "state": "accepted"})
                if following is not None:
                    following()
                return
            self.tell(pending, value if value is not None else error or StoreClosed("it has stopped"))
            pending.void = True
            if following is not None:
                self._finished(pending, pending.id, "", None)

        self.committing += 1
        self._store.writer.post(inbound_rows.accept, (pending.inbound, self._store.judge_caller), done)

    def again_later(self, pending: Pending) -> None:
        """The disk or a read failed, not the turn: the same turn again in a moment."""
        asyncio.get_running_loop().call_later(RETRY_S, self._again, pending)

    def _again(self, pending: Pending) -> None:
        if not self.stopping:
            self._boxes.put_back(pending)
            self._on_ready()

    def strike(self, pending: Pending, reason: str, limit: int) -> None:
        """A turn failed. Once it is run again, alone; after that the message is set aside."""
        if pending.void:
            self._finished(pending, pending.id, "", None)
            return
        if pending.is_draft:  # a message that fails must be on disk, for the person who looks into it
            self.persist(pending, lambda: self.strike(pending, reason, limit))
            return
        pending.strikes += 1
        pending.solo = True
        pending.attempt = 0
        if pending.strikes < limit:
            logger.warning("the turn of message %d failed and is run again: %s", pending.id, reason)
            self._store.writer.post(
                inbound_rows.strike, (pending.id, reason, self._clock_ms()), lambda value, error: None
            )
            self._boxes.put_back(pending)
            self._on_ready()
            return
        logger.error("message %d is set aside: %s", pending.id, reason)
        pending.answering = pending.id in self._callers
        work = TurnWork(pending.id, pending.inbound.sender, self._clock_ms(), None, (), (), pending.answering)
        apologies = {} if pending.inbound.channel == "timer" else self._apologies

        def done(value: Any, error: BaseException | None) -> None:
            self.committing -= 1
            if error is not None:
                pending.answering = False
                pending.strikes -= 1
                if not isinstance(error, StoreClosed):
                    self.again_later(pending)
                return
            if isinstance(value, Committed):
                self.set_aside += 1
                if value.queued:
                    self._on_outbound(value.queued)
                self._finished(pending, pending.id, "set_aside", value.answers)
            else:
                self._finished(pending, pending.id, "", None)

        self.committing += 1
        self._store.writer.post(turns.commit_failed_turn, (work, reason, apologies), done)
