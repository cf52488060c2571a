"""A GSM modem as a channel: what it receives goes to the store, what it is given becomes SMS-SUBMITs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from appliance import faults
from appliance.channels.channel import Doubt, Gate, NotSent, Outcome, Refused, Sent
from appliance.channels.forms import read_form
from appliance.clock import Clock
from appliance.message import Inbound, normalise_number
from appliance.outbound.balance_watch import BalanceWatch
from appliance.outbound.policy import Action
from appliance.outbound.sim_health import SimHealth
from appliance.outbound.sim_memory import SimMemory
from appliance.store import sim_balance, status_reports
from appliance.store.outbound import Change, Claim
from appliance.store.parts import Part
from firmware_bridge.errors import (
    CmsError,
    NotReady,
    PortLost,
    SendAction,
    SendError,
)
from firmware_bridge.modem import Modem, Received
from firmware_bridge.pdu import StatusReport, Submit, segment, submits

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["ModemChannel", "ModemInbox"]

log = logging.getLogger(__name__)

_ACTIONS: Final[dict[SendAction, Action]] = {
    SendAction.RETRY_NOW: Action.RETRY_NOW,
    SendAction.RETRY_LATER: Action.RETRY_LATER,
    SendAction.OTHER_ROUTE: Action.OTHER_ROUTE,
    SendAction.PERMANENT: Action.PERMANENT,
    SendAction.ATTENTION: Action.ROUTE_DOWN,
    SendAction.OUR_BUG: Action.OUR_BUG,
}
TOP_UP: Final = "top the SIM up; it sends again when the operator's answer says so"
_LONGEST_TP_VP_S: Final = 63 * 7 * 86_400


class ModemChannel:
    """One modem's way out: closed while the modem is not ready, and while its SIM is set aside."""

    def __init__(self, modem: Modem, clock_ms: Callable[[], int]) -> None:
        self.modem = modem
        self.sims = SimMemory()  # the box's own is set by who keeps it
        self.balance: BalanceWatch | None = None  # set by who is to keep it known
        self._clock_ms = clock_ms
        self._changed = asyncio.Event()  # what closes it besides the modem may be over
        self._held = ""
        self._plans: tuple[tuple[int, int], Sequence[Submit]] | None = None

    @property
    def name(self) -> str:
        return f"modem:{self.modem.health.name}"

    @property
    def routes(self) -> tuple[str, ...]:
        return ("", self.name)

    @property
    def identity(self) -> str:
        health = self.modem.health
        if health.imei or health.iccid:
            return f"{health.imei or ''}/{health.iccid or ''}"
        return self.name

    @property
    def sim(self) -> SimHealth:
        """Of the SIM that is in the modem now."""
        return self.sims.of(self._sim_key, _now())

    @property
    def _sim_key(self) -> str:
        return self.iccid or self.name

    @property
    def ready(self) -> bool:
        return self.modem.ready and not self._hold()

    @property
    def trouble(self) -> str:
        health = self.modem.health
        return self._hold() if self.modem.ready else f"{health.state}: {health.reason}".rstrip(": ")

    def snapshot(self) -> dict[str, Any]:
        balance = self.balance.snapshot() if self.balance else {}
        sim = self.sim
        return {
            "hold": self._hold(),
            "to_do": sim.to_do(_now()) or (TOP_UP if self._poor() else ""),
            "sim": sim.snapshot(_now()),
            "balance": balance,
        }

    @property
    def iccid(self) -> str | None:
        return self.modem.health.iccid

    async def wait_modem(self) -> None:
        await self.modem.wait_ready()

    async def dial(self, code: str) -> str:
        """Ask the network by USSD. The code is the configuration's, so no list has to allow it."""
        answers = await self.modem.ussd(code, any_code=True)
        return " ".join(answer.text for answer in answers if answer.text)

    async def wait_ready(self) -> None:
        while True:
            await self.modem.wait_ready()
            self._changed.clear()
            if not self._hold():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.sim.wait_s(_now())):
                    await self._changed.wait()

    def reported(self, recipient: str, *, delivered: bool) -> None:
        """A final delivery report came in for something this SIM sent."""
        self.sim.reported(recipient, delivered=delivered, now=_now())
        self.look_again()

    def _hold(self) -> str:
        """Why nothing may be sent although the modem is ready."""
        return self.sim.trouble(_now()) or self._poor()

    def _poor(self) -> str:
        return self.balance.hold() if self.balance else ""

    def look_again(self) -> None:
        """Wake who waits, and say once what has changed."""
        self._changed.set()
        self.sims.note(self._sim_key)
        hold = self._hold()
        if hold != self._held:
            if hold:
                log.warning("%s: %s", self.name, hold)
            else:
                log.info("%s: its SIM may send again", self.name)
            self._held = hold

    def count_parts(self, text: str) -> int:
        return len(segment(text).parts)

    async def send(self, claim: Claim, sequence: int, gate: Gate) -> Outcome:
        """Send one part. What the SIM was set aside for in the meantime goes back to its queue."""
        sim, number = self.sim, claim.recipient
        if self._poor() or not sim.acquire(claim.outbound_id, number, _now()):
            return NotSent(f"{self.name}: {self._hold()}")
        try:
            outcome, code = await self._send(claim, sequence, gate)
        except BaseException:
            sim.unknown(_now())
            raise
        match outcome:
            case Sent():
                sim.sent(_now())
            case Refused():
                sim.refused(number, code, outcome.reason, _now())
            case _:
                sim.unknown(_now())
        self.look_again()
        return outcome

    async def _send(self, claim: Claim, sequence: int, gate: Gate) -> tuple[Outcome, int | None]:
        """What became of it, and the code of +CMS ERROR where there was one."""
        submit = self._submits(claim)[sequence - 1]
        if faults.armed:
            faults.hit("modem.before_submit")
        try:
            sent = Sent(tp_mr=await self.modem.send(submit, gate=gate))
            if faults.armed:
                faults.hit("modem.submitted")
            return sent, None
        except SendError as error:
            return self._outcome(error), error.code if isinstance(error, CmsError) else None

    def _outcome(self, error: SendError) -> Outcome:
        name = self.name
        if error.ambiguous:
            return Doubt(f"{name}: {error}")
        if error.action is SendAction.ACCEPTED:
            return Sent()
        if isinstance(error, NotReady | PortLost):
            return NotSent(f"{name}: {error}")
        return Refused(_ACTIONS[error.action], f"{name}: {error}", error.retries)

    def _submits(self, claim: Claim) -> Sequence[Submit]:
        key = (claim.outbound_id, claim.attempt)
        if self._plans is None or self._plans[0] != key:
            validity_s = None
            if claim.expires_at_ms is not None:
                left_s = (claim.expires_at_ms - self._clock_ms()) // 1000
                validity_s = min(max(left_s, 300), _LONGEST_TP_VP_S)
            form = read_form(claim.form)
            # The low octet changes from each message to the next, so two messages to one person are
            # never joined; a repetition keeps it, so a handset can tell it for what it is.
            low, report, repeated = claim.outbound_id & 0xFF, claim.want_report, claim.doubted
            if form.data is not None:
                parts: Sequence[Submit] = (
                    form.submit(
                        claim.recipient,
                        mr=low,
                        status_report=report,
                        reject_duplicates=repeated,
                        validity_s=validity_s,
                    ),
                )
            else:
                parts = submits(
                    claim.recipient,
                    claim.text,
                    reference=low,
                    mr=low,
                    status_report=report,
                    reject_duplicates=repeated,
                    validity_s=validity_s,
                    message_class=form.message_class,
                )
            self._plans = (key, parts)
        return self._plans[1]


class ModemInbox:
    """One modem's way in: the callbacks it awaits before it frees a SIM slot or acknowledges a report."""

    def __init__(
        self,
        store: Store,
        *,
        region: str,
        clock: Clock,
        on_changes: Callable[[Sequence[Change]], None],
    ) -> None:
        self._store = store
        self._region = region
        self._clock = clock
        self._on_changes = on_changes
        self.channel: ModemChannel | None = None  # set when the modem it belongs to exists

    async def on_deliver(self, received: Received) -> None:
        """Store an SMS-DELIVER; returns after the commit that holds it is on disk."""
        deliver = received.deliver
        channel = f"modem:{received.modem}"
        now = self._clock.now_ms()
        sender = normalise_number(deliver.sender.digits, self._region) or deliver.sender.digits
        digest = _digest(received.pdu)
        sent_at = deliver.scts.utc_ms
        if sent_at is not None:
            self._clock.message_says(sent_at)
        # SCTS has one-second steps, so two equal texts of one person differ in it, a repeated delivery
        # does not. Where a broken SC gives no time, the slot and the hour tell a second reading of one
        # message from a second message.
        key = f"sms:{sender}:{digest}"
        if sent_at is None:
            key += f":{received.memory}{received.index}:{now // 3_600_000}"
        own = self.channel.modem.health.own_number if self.channel else None
        if deliver.concat is not None:
            accepted = await self._store.accept_part(
                Part(
                    channel=channel,
                    sender=sender,
                    recipient=own or "",
                    reference=deliver.concat.reference,
                    reference_bits=deliver.concat.reference_bits,
                    total=deliver.concat.total,
                    sequence=deliver.concat.sequence,
                    encoding=deliver.encoding,
                    data=deliver.data,
                    natural_key=key,
                    sent_at_ms=sent_at,
                    received_at_ms=now,
                )
            )
            if accepted is not None and not accepted.duplicate:
                await self._heard(sender, accepted.id)
            return
        inbound = Inbound(
            channel=channel,
            sender=sender,
            recipient=own or "",
            text=deliver.text if deliver.text is not None else deliver.data.hex(),
            sent_at_ms=sent_at,
            received_at_ms=now,
            natural_key=key,
        )
        await self._store.accept(inbound)
        if faults.armed:
            faults.hit("modem.stored")
        if self.channel is not None and self.channel.balance is not None:
            await self.channel.balance.heard(sender, inbound.text)

    async def _heard(self, sender: str, inbound_id: int) -> None:
        """Read a text that came in parts as the operator's, if it is one."""
        balance = self.channel.balance if self.channel is not None else None
        if balance is not None and balance.listens_to(sender):
            text = await self._store.reader.run(sim_balance.text_of, inbound_id)
            await balance.heard(sender, text)

    async def on_status_report(self, report: StatusReport, raw: bytes) -> None:
        """Apply an SMS-STATUS-REPORT; returns after the commit."""
        identity = self.channel.identity if self.channel else ""
        changes = await self._store.writer.run(
            status_reports.report,
            identity,
            report.mr,
            report.recipient.digits,
            report.status,
            self._clock.now_ms(),
        )
        if faults.armed:
            faults.hit("modem.reported")
        self._on_changes(changes)
        if self.channel is not None and (group := report.status & 0x60) != 0x20:  # 0x20: still being tried
            self.channel.reported(report.recipient.digits, delivered=group == 0)

    async def on_undecodable(self, pdu: bytes, error: str) -> None:
        """Keep a TPDU that nobody could read; it is shown on the page and frees its slot."""
        channel = self.channel.name if self.channel else "modem"
        log.warning("%s: undecodable TPDU kept: %s", channel, error)
        await self._store.keep_undecoded(channel, pdu, error, self._clock.now_ms())


def _digest(pdu: bytes) -> str:
    """What a second delivery of one message has in common with the first.

    Not the service centre, of which an operator has several, nor TP-MMS and TP-LP (TS 23.040 9.2.3.2, .28):
    whether more messages wait can be otherwise the second time. pdu: with SCA octets.
    """
    tpdu = bytearray(pdu[1 + pdu[0] :])
    tpdu[0] &= ~0x0C
    return hashlib.blake2b(tpdu, digest_size=16).hexdigest()


def _now() -> float:
    return asyncio.get_running_loop().time()
