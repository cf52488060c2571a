"""What the SMSC does to a TPDU on its way: SUBMIT in, DELIVER and STATUS-REPORT out (3GPP TS 23.040 9.2.2).

User data crosses untouched, octet by octet, whatever it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_bridge.pdu import Address, Deliver, EnhancedValidity, Scts, StatusReport, Submit, submits

if TYPE_CHECKING:
    from firmware_bridge.simulator.network import Message, NetworkSettings

__all__ = ["compose", "stamp", "to_deliver", "to_report", "validity_seconds"]


def stamp(utc_ms: int, settings: NetworkSettings) -> Scts:
    """A time of the SC's clock, in the SC's zone."""
    return Scts.from_utc_ms(utc_ms, zone_minutes=15 * settings.zone_quarters)


def compose(recipient: str, text: str, *, reference: int, status_report: bool = False) -> tuple[Submit, ...]:
    """The SUBMITs of a text typed on a phone."""
    return submits(recipient, text, reference=reference, status_report=status_report)


def to_deliver(message: Message, settings: NetworkSettings, *, more_to_send: bool) -> Deliver:
    """The DELIVER that carries a message to its recipient."""
    submit = message.submit
    return Deliver(
        sender=Address.parse(message.sender),
        scts=stamp(message.accepted_ms, settings),
        data=submit.data,
        sca=Address.parse(settings.smsc),
        pid=submit.pid,
        dcs=submit.dcs,
        udh=submit.udh,
        more_to_send=more_to_send,
        reply_path=submit.reply_path,
    )


def to_report(
    message: Message, settings: NetworkSettings, *, status: int, discharged_ms: int
) -> StatusReport:
    """The report on a message, with the recipient as the network writes it."""
    return StatusReport(
        recipient=Address.parse(message.recipient),
        scts=stamp(message.accepted_ms, settings),
        discharge_time=stamp(discharged_ms, settings),
        status=status,
        mr=message.mr,
        sca=Address.parse(settings.smsc),
    )


def validity_seconds(submit: Submit, *, now_ms: int) -> float | None:
    """How long the SC keeps trying, in seconds from now; None: the SC's own choice."""
    match submit.validity:
        case Scts() as moment:
            return None if moment.utc_ms is None else max(0.0, (moment.utc_ms - now_ms) / 1000)
        case EnhancedValidity() as enhanced:
            return None if enhanced.seconds is None else float(enhanced.seconds)
        case None:
            return None
        case seconds:
            return float(seconds)
