"""From an open port to a modem that sends and receives.

Only two things are indispensable: an answer to AT, and PDU mode. Everything else is asked for in its widest
form first, then narrower; what a modem lacks is noted and done without. Settings that a modem refuses
because it is still starting are asked for again, as long as its profile's patience lasts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from firmware_bridge.at import response
from firmware_bridge.at.command import DEFAULT_TIMEOUT_S, AtCommand, ask, attempt, basic
from firmware_bridge.errors import AtError, AtTimeout, BridgeError, CmeError, CmsError
from firmware_bridge.health import USABLE_REGISTRATION, signal_dbm
from firmware_bridge.line import Line
from firmware_bridge.profiles import DEFAULT, Profile

__all__ = ["Facts", "NoPduMode", "SimTrouble", "Startup"]

# +CNMI from widest to narrowest: new messages announced by index (mt=1, so that a crash loses none), reports
# direct (ds=1), else stored (ds=2), else none. bfr=1 is all that Cinterion takes.
NOTIFY_FORMS = (
    "2,1,0,1,0", "2,1,0,1,1", "2,1,0,2,0", "2,1,0,2,1", "2,1,0,0,0", "2,1,0,0,1", "3,1,0,1,0", "3,1,0,1,1",
    "1,1,0,1,0", "1,1,0,1,1", "1,1,0,2,1", "2,1,0,0", "2,1,0", "2,1", "1,1", "3,1",
)  # fmt: skip
STORES = ("SM", "ME", "MT")
_BUSY_CMS = frozenset({314, 515})
_STARTING_CMS = frozenset({302, 310, 313, 500})
_BUSY_CME = frozenset({14, 515})
_STARTING_CME = frozenset({3, 10, 13, 100})
RETRY_S = 1.0
STARTING_TRIES = 4


class NoPduMode(BridgeError):
    """The modem refuses AT+CMGF=0."""

    transient = True


class SimTrouble(BridgeError):
    """The SIM is absent, locked or broken. code: +CME code, None unknown. parked: only a person can help."""

    def __init__(self, why: str, next_step: str, *, parked: bool = False) -> None:
        super().__init__(why)
        self.next_step = next_step
        self.parked = parked


@dataclass(slots=True)
class Facts:
    """What start-up found. memory: mem1, where reading and deleting happen; memories: those it may hold
    messages in. notify: the +CNMI that was taken, None: the store must be polled. csms: 1 when +CMT and
    +CDS want +CNMA."""

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    imei: str | None = None
    imsi: str | None = None
    iccid: str | None = None
    own_number: str | None = None
    operator: str | None = None
    smsc: str | None = None
    creg: int | None = None
    cereg: int | None = None
    signal_dbm: int | None = None
    memory: str = ""
    memories: tuple[str, ...] = ()
    receiving: str = ""
    used: int | None = None
    total: int | None = None
    notify: str | None = None
    notify_read: str = ""  # what +CNMI? said right after, to be compared with later
    csms: int = 0
    cmms: bool = False
    network_time_ms: int | None = None
    network_time_at: float | None = None
    profile: Profile = field(default=DEFAULT)

    @property
    def registration(self) -> int | None:
        """stat of the domain that can carry SMS, +CREG's if none can."""
        for stat in (self.creg, self.cereg):
            if stat in USABLE_REGISTRATION:
                return stat
        return self.cereg if self.creg is None else self.creg

    @property
    def may_send(self) -> bool:
        """Registered, or the modem does not say."""
        return self.registration is None or self.registration in USABLE_REGISTRATION

    @property
    def reports_stored(self) -> bool:
        return self.notify is not None and self.notify.split(",")[3:4] == ["2"]


class Startup:
    """The steps, on a line whose turn the caller holds. unlock: called with the text of +CPIN? when the SIM
    wants a code; it returns when it is in, or raises SimTrouble. choose: profile for the identity found."""

    def __init__(
        self,
        line: Line,
        *,
        smsc: str | None = None,
        choose: Callable[[Facts], Profile] = lambda facts: DEFAULT,
        unlock: Callable[[str], Awaitable[None]] | None = None,
        progress: Callable[[str, str], None] = lambda reason, next_step: None,
    ) -> None:
        self._line = line
        self._smsc = smsc
        self._choose = choose
        self._unlock = unlock
        self._progress = progress
        self._patience = True
        self.facts = Facts()

    async def run(self) -> Facts:
        """All that sending and receiving need. Raises PortLost, SimTrouble or NoPduMode."""
        await self.basics()
        await self.identify()
        await self.sim()
        if not self.facts.imei or not self.facts.model:
            await self.identify()  # with its SIM locked it would not even say what it is (Qualcomm M6280)
        await self.iccid()
        await self.pdu_mode()
        await self.storage()
        await self.service()
        await self.notifications()
        await self.smsc()
        await self.registration()
        return self.facts

    @property
    def complete(self) -> bool:
        """Nothing that receiving is better with was refused."""
        return bool(self.facts.memory) and self.facts.notify is not None

    async def complete_later(self) -> bool:
        """Ask once more for what was refused: some modems (Cinterion) are ready long after they say so, and
        tell nobody. True if that has changed anything."""
        self._patience = False
        before = (self.facts.memory, self.facts.notify)
        if not self.facts.memory:
            await self.storage()
        if self.facts.notify is None:
            await self.service()
            await self.notifications()
        if self.facts.smsc is None:
            await self.smsc()
        return (self.facts.memory, self.facts.notify) != before

    # -- steps

    async def basics(self) -> None:
        await self._line.synchronise()
        await self._optional(basic("ATE0"))
        await self._optional(basic("AT+CMEE=1"))

    async def identify(self) -> None:
        facts = self.facts
        facts.manufacturer = response.identity_line(await self._ask("AT+CGMI"), "+CGMI")
        facts.model = response.identity_line(await self._ask("AT+CGMM"), "+CGMM")
        facts.firmware = response.identity_line(await self._ask("AT+CGMR"), "+CGMR")
        facts.imei = response.first_digits(await self._ask("AT+CGSN"), 14, 16)
        facts.profile = self._choose(facts)
        self._line.pause_s = facts.profile.pause_ms / 1000
        for text in facts.profile.quiet:
            await self._optional(basic(text))

    async def sim(self) -> None:
        """Wait until +CPIN? says READY. A modem that does not know the question is taken at its word."""
        waited, refusals, asked_for_code = 0.0, 0, False
        while True:
            try:
                lines = await self._line.execute(ask("+CPIN", timeout_s=6.0, enough_s=1.0))
            except AtTimeout as e:
                lines = e.lines  # Wavecom gives the line and no OK
                if not lines:
                    refusals += 1
                    if refusals >= 2:
                        return
            except (CmeError, CmsError) as e:
                verdict = _sim_verdict(e)
                if verdict == "code":
                    lines = ("+CPIN: SIM PIN",)
                elif verdict == "puk":
                    lines = ("+CPIN: SIM PUK",)
                elif verdict == "busy" and waited < max(30.0, self.facts.profile.sim_patience_s):
                    self._progress(f"SIM: {e.text}", "waits for the SIM")
                    await asyncio.sleep(RETRY_S)
                    waited += RETRY_S
                    continue
                elif verdict == "unknown":
                    return
                else:
                    raise SimTrouble(
                        f"SIM: {e.text}", "put a SIM in, or seat it again; tried every 10 s"
                    ) from e
            except AtError:
                refusals += 1
                if refusals >= STARTING_TRIES:
                    return
                await asyncio.sleep(RETRY_S / 2)
                continue
            said = response.values(lines, "+CPIN")
            state = (said[0] if said else lines[0] if lines else "").strip('" ').upper()
            if not state or state.startswith("READY"):
                return
            if self._unlock is None or asked_for_code:
                raise SimTrouble(f"SIM wants {state}", "set the PIN in the configuration", parked=True)
            asked_for_code = True
            await self._unlock(state)

    async def iccid(self) -> None:
        """The SIM's number: with the IMEI it says whose status reports these are."""
        for text in self.facts.profile.iccid:
            digits = response.first_digits(await self._ask(text), 18, 20)
            if digits:
                self.facts.iccid = straight_iccid(digits)
                return

    async def pdu_mode(self) -> None:
        if await self._patient(basic("AT+CMGF=0")) is None:
            lines = await self._ask("AT+CMGF?")
            if not any(v.startswith("0") for v in response.values(lines, "+CMGF")):
                raise NoPduMode("the modem refuses PDU mode (AT+CMGF=0)")

    async def storage(self) -> None:
        """Choose the store, in the widest form of +CPMS that is taken."""
        facts = self.facts
        lines = await self._patient(ask("+CPMS", timeout_s=15.0))
        current = [f for v in response.values(lines or (), "+CPMS") for f in response.fields(v)]
        offered = response.memory_lists(" ".join(response.values(await self._ask("AT+CPMS=?"), "+CPMS")))
        readable = tuple(m for m in (offered[0] if offered else ()) if m not in ("BM", "TA"))
        names = [f for f in current if re.fullmatch(r"[A-Z]{2}(_P)?", f)]
        wanted = list(facts.profile.memories)
        # What the modem receives into now comes first: its messages are there.
        if names and names[-1] in STORES:
            wanted.append(names[-1])
        wanted += [m for m in STORES if not readable or m in readable]
        for memory in dict.fromkeys(wanted):
            for count in (3, 2, 1):
                answer = await self._optional(attempt("+CPMS", *[memory] * count, timeout_s=15.0))
                if answer is None:
                    continue
                facts.memory = facts.receiving = memory
                self._counts(answer, third=count == 3)
                facts.memories = tuple(dict.fromkeys((memory, *(m for m in ("SM", "ME") if m in readable))))
                if memory == "MT":
                    facts.memories = ("MT",)
                if "SR" in readable:
                    facts.memories += ("SR",)
                return

    def _counts(self, lines: tuple[str, ...], *, third: bool) -> None:
        numbers = [
            n
            for v in response.values(lines, "+CPMS")
            for f in response.fields(v)
            if (n := response.integer(f)) is not None
        ]
        if len(numbers) >= 2:
            at = 4 if third and len(numbers) >= 6 else 0
            self.facts.used, self.facts.total = numbers[at], numbers[at + 1]

    async def service(self) -> None:
        """Phase 2+ where it exists: reports are then acknowledged by us, after they are stored."""
        wanted = self.facts.profile.csms
        self.facts.csms = 0
        if wanted is not None and await self._optional(basic(f"AT+CSMS={wanted:d}")) is not None:
            self.facts.csms = wanted
        elif wanted:
            await self._optional(basic("AT+CSMS=0"))
        if self.facts.csms == 1:
            # A report that came just before we were killed still waits for this; unsettled, it makes the
            # modem stop announcing some seconds from now (TS 27.005 3.4.4). With nothing to settle it is
            # refused.
            await self._optional(basic("AT+CNMA"))
        self.facts.cmms = await self._optional(basic("AT+CMMS=2")) is not None

    async def notifications(self) -> None:
        facts = self.facts
        lines = await self._ask("AT+CNMI=?")
        offered = response.range_lists(" ".join(response.values(lines, "+CNMI")))
        facts.notify = None
        for form in notify_candidates(facts.profile.notify, offered):
            if await self._optional(basic(f"AT+CNMI={form}")) is not None:
                facts.notify = form
                facts.notify_read = await self._notify_now()
                return

    async def settings_lost(self) -> bool:
        """True if +CNMI is no longer what it was: the modem restarted and told nobody, or it stopped
        announcing because an acknowledgement was lost (TS 27.005 3.4.4)."""
        before = self.facts.notify_read
        now = await self._notify_now() if before else ""
        return bool(now) and now != before

    async def _notify_now(self) -> str:
        found = response.values(await self._ask("AT+CNMI?"), "+CNMI")
        return found[0].replace(" ", "") if found else ""

    async def smsc(self) -> None:
        found = await self._smsc_now()
        if self._smsc and found != self._smsc:
            kind = 145 if self._smsc.startswith("+") else 129
            if await self._patient(attempt("+CSCA", self._smsc, kind)) is not None:
                found = await self._smsc_now() or self._smsc
        self.facts.smsc = found

    async def _smsc_now(self) -> str | None:
        lines = await self._patient(ask("+CSCA"), tries=2)
        for value in response.values(lines or (), "+CSCA"):
            parts = response.fields(value)
            if not parts[0]:
                return None
            international = len(parts) > 1 and parts[1] == "145" and not parts[0].startswith("+")
            return "+" + parts[0] if international else parts[0]
        return None

    async def registration(self) -> None:
        await self._optional(basic("AT+CREG=1"))
        await self._optional(basic("AT+CEREG=1"))
        await self.poll_registration()

    async def poll_registration(self) -> None:
        self.facts.creg = await self._stat("+CREG")
        if self.facts.creg not in USABLE_REGISTRATION or self.facts.cereg is not None:
            self.facts.cereg = await self._stat("+CEREG")

    async def poll_signal(self) -> None:
        for value in response.values(await self._ask("AT+CSQ"), "+CSQ"):
            rssi = response.integer(response.fields(value)[0])
            self.facts.signal_dbm = None if rssi is None else signal_dbm(rssi)

    async def poll_storage(self) -> None:
        for value in response.values(await self._ask("AT+CPMS?"), "+CPMS"):
            parts = response.fields(value)
            for at in (6, 3, 0):
                if parts[at : at + 1] == [self.facts.receiving] and len(parts) >= at + 3:
                    self.facts.used = response.integer(parts[at + 1])
                    self.facts.total = response.integer(parts[at + 2])
                    return

    async def poll_operator(self) -> None:
        for value in response.values(await self._ask("AT+COPS?"), "+COPS"):
            parts = response.fields(value)
            if len(parts) > 2 and parts[2]:
                self.facts.operator = parts[2]

    async def network_clock(self) -> None:
        """Ask the modem to follow the network's time, and read it; a clock that was never set says
        nothing."""
        if self.facts.network_time_at is None:
            await self._optional(basic("AT+CTZU=1"))
        for value in response.values(await self._ask("AT+CCLK?"), "+CCLK"):
            self.facts.network_time_ms = response.clock_ms(value.strip('"'))
            self.facts.network_time_at = self._line.now()

    async def subscriber(self) -> None:
        """Who the SIM's owner is: shown, never needed to work."""
        facts = self.facts
        facts.imsi = response.first_digits(await self._ask("AT+CIMI"), 14, 15)
        for value in response.values(await self._ask("AT+CNUM"), "+CNUM"):
            parts = response.fields(value)
            if len(parts) > 1 and re.fullmatch(r"\+?\d{5,15}", parts[1]):
                international = parts[2:3] == ["145"] and not parts[1].startswith("+")
                facts.own_number = "+" + parts[1] if international else parts[1]
                break

    async def _stat(self, name: str) -> int | None:
        lines = await self._ask(f"AT{name}?")
        found = response.values(lines, name)
        return response.registration(found[0], read=True) if found else None

    # -- how commands are tried

    async def _ask(self, text: str) -> tuple[str, ...]:
        return await self._optional(basic(text)) or ()

    async def _optional(self, command: AtCommand) -> tuple[str, ...] | None:
        """None when refused. One that hung once is not asked again on this line."""
        if command.name in self._line.hangs or command.name in self.facts.profile.skip:
            return None
        # Settings take 5 to 50 ms; a modem that has let two unknown commands pass in silence will let more.
        if command.timeout_s <= DEFAULT_TIMEOUT_S:
            patience = 3.0 if len(self._line.hangs) < 2 else 1.0
            command = dataclasses.replace(command, timeout_s=patience)
        for _ in range(3):
            try:
                return await self._line.execute(command)
            except AtTimeout as e:
                self._line.hangs.add(command.name)
                return e.lines or None
            except CmeError as e:
                if not e.busy:
                    return None
                await asyncio.sleep(RETRY_S / 4)
            except AtError:
                return None
        return None

    async def _patient(self, command: AtCommand, *, tries: int = STARTING_TRIES) -> tuple[str, ...] | None:
        """For what a modem refuses while its SIM is starting: again every second, as long as it says busy
        until the profile's patience ends, and a few times when it says only ERROR."""
        waited, refusals = 0.0, 0
        while True:
            try:
                return await self._line.execute(command)
            except AtTimeout:
                return None
            except AtError as e:
                busy = (isinstance(e, CmsError) and e.code in _BUSY_CMS) or (
                    isinstance(e, CmeError) and e.code in _BUSY_CME
                )
                refusals += not busy
                if (
                    not self._patience
                    or refusals >= tries
                    or waited >= self.facts.profile.sim_patience_s
                    or _never(e)
                ):
                    return None
                self._progress(f"{command.name}: {e.result}", "waits for the modem to finish starting")
            await asyncio.sleep(RETRY_S)
            waited += RETRY_S


def _never(error: AtError) -> bool:
    """Refused for what it is, not for when it is."""
    if isinstance(error, CmsError):
        return error.code is not None and error.code not in _BUSY_CMS | _STARTING_CMS
    if isinstance(error, CmeError):
        return error.code is not None and error.code not in _BUSY_CME | _STARTING_CME
    return error.result != "ERROR"


def _sim_verdict(error: CmeError | CmsError) -> str:
    code = error.code
    if isinstance(error, CmsError):
        code = {310: 10, 311: 11, 313: 13, 314: 14, 315: 15, 316: 12}.get(-1 if code is None else code, code)
    if code == 11:
        return "code"
    if code == 12:
        return "puk"
    if code in (10, 13, 14, 515):
        return "busy"
    return "broken" if code == 15 else "unknown"


def straight_iccid(digits: str) -> str:
    """ICCIDs start with 89 (ITU-T E.118); Huawei's ^ICCID? gives the digits of each octet swapped."""
    if digits.startswith("98"):
        return "".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=False))
    return digits


def notify_candidates(first: tuple[str, ...], offered: list[frozenset[int]]) -> Iterator[str]:
    """+CNMI settings, those of the profile first, then those the modem claims to take, then the rest: the
    claims are not always true in either direction."""
    fitting = [f for f in NOTIFY_FORMS if offered and _fits(f, offered)]
    yield from dict.fromkeys((*first, *fitting, *NOTIFY_FORMS))


def _fits(form: str, offered: list[frozenset[int]]) -> bool:
    return all(int(v) in allowed for v, allowed in zip(form.split(","), offered, strict=False))
