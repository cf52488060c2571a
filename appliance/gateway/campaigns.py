"""Campaigns become messages: slice by slice, no faster than asked, no further than the credit reaches.

At any moment a slice of contacts is in memory and a bounded number of a campaign's messages is queued,
however large its group is: the rest waits in the group.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec

from appliance import faults
from appliance.gateway import templates
from appliance.gateway.service import MAX_VALIDITY_S, Denied, Gateway, ItemError, SendRequest
from appliance.store import campaigns as ops
from appliance.store.campaigns import Due, Member, Slice
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.gateway import NewMessage

__all__ = ["Body", "CampaignService", "text_for"]

log = logging.getLogger(__name__)

SLICE: Final = 200  # contacts at once
SLICES_A_MINUTE: Final = 12
QUEUED: Final = 2_000  # of a campaign's messages; what is paused or cancelled leaves no more than these
LOOK_EVERY_S: Final = 1.0
CAMPAIGNS_AT_ONCE: Final = 8
PUT_OFF_MS: Final = 30_000  # while the queue or the disk has no room


class Body(msgspec.Struct, kw_only=True, frozen=True):
    """What a campaign says. template: as it was when the campaign was made; else `text`."""

    text: str | None = None
    template: templates.Template | None = None
    lane: Literal["normal", "bulk"] = "bulk"
    validity_s: Annotated[int, msgspec.Meta(ge=60, le=MAX_VALIDITY_S)] | None = None
    consent_only: bool = False


def text_for(body: Body, member: Member) -> str:
    """A contact's text: in its language if the template speaks it, else in the template's first one.

    The contact's name fills a place {name} that its variables leave open. Raises TemplateError.
    """
    if body.template is None:
        return body.text or ""
    known = {"name": member.name} if member.name else {}
    known |= msgspec.json.decode(member.variables, type=dict[str, str | int | float])
    values = {name: known[name] for name in body.template.variables if name in known}
    language = member.language if member.language in body.template.texts else ""
    return templates.render(body.template, language, values)


class CampaignService:
    """One for the process. trusted: whether the clock can be believed: without a time nothing starts."""

    def __init__(self, gateway: Gateway, *, trusted: Callable[[], bool] = lambda: True) -> None:
        self._gateway = gateway
        self._trusted = trusted
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._gateway.on_campaign = self._look.set
        self._task = asyncio.create_task(self._for_ever(), name="campaigns")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _for_ever(self) -> None:
        while True:
            self._look.clear()
            busy = False
            try:
                busy = self._trusted() and await self.step()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("campaigns wait for the disk: %s", error)
            if not busy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._look.wait()

    async def step(self) -> bool:
        """Make the slices that are due and take cancelled messages back; False when there was nothing."""
        store = self._gateway.store
        due = await store.reader.run(ops.due_campaigns, self._gateway.clock_ms(), CAMPAIGNS_AT_ONCE)
        for each in due:
            try:
                await self._slice(each)
            except StoreError:
                raise
            except Exception:  # the others must not wait for what is wrong with this one
                log.exception("campaign %d: a slice failed and is tried again", each.id)
                await store.writer.run(ops.put_off, each.id, self._gateway.clock_ms() + PUT_OFF_MS)
        back = await store.reader.run(ops.cancelled_rows, SLICE)
        await asyncio.gather(*(self._gateway.cancel(row, "its campaign was cancelled") for row in back))
        return bool(due or back)

    async def _slice(self, due: Due) -> None:
        gateway, now_ms = self._gateway, self._gateway.clock_ms()
        size = max(1, min(SLICE, due.per_minute // SLICES_A_MINUTE))
        if due.waiting + size > QUEUED:
            await gateway.store.writer.run(ops.put_off, due.id, now_ms + PUT_OFF_MS)
            return
        members = await gateway.store.reader.run(ops.members_after, due.group_id, due.after_contact, size + 1)
        body = msgspec.json.decode(due.body, type=Body)
        try:
            entries = [(each.id, await self._message(due, body, each)) for each in members[:size]]
        except Denied as error:
            log.warning("campaign %d waits: %s", due.id, error)
            await gateway.store.writer.run(ops.put_off, due.id, now_ms + PUT_OFF_MS)
            return
        part = Slice(due.id, due.after_contact, entries, len(members) <= size, 60_000 / due.per_minute)
        if faults.armed:
            faults.hit("campaign.before_slice")
        # The time is asked anew: the clock may have been set while the contacts were read.
        done = await gateway.store.writer.run(ops.commit_slice, part, gateway.clock_ms())
        if faults.armed:
            faults.hit("campaign.slice")
        gateway.offer([placed.row for placed in done.placed])
        if done.state not in ("running", ""):
            log.info("campaign %d is %s", due.id, done.state)

    async def _message(self, due: Due, body: Body, member: Member) -> NewMessage | str:
        """A contact's message, or why there is none."""
        if body.consent_only and not member.consent:
            return "no consent is kept of the contact"
        try:
            request = SendRequest(
                to=member.number,
                text=text_for(body, member),
                lane=body.lane,
                validity_s=body.validity_s,
                reference=f"cmp_{due.id}",
            )
            return await self._gateway.prepare(request, due.client)
        except templates.TemplateError as error:
            return f"{error.where}: {error}"
        except ItemError as error:
            return str(error)
