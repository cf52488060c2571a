"""Every transcript in transcripts/: read the same in every split, and started by the driver as its head
expects.

A field recording (`outpost record PORT FILE`) becomes a test by being dropped into the folder; lines
`expect X: value` in its head say what must be found.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.at.command import AtCommand
from firmware_bridge.at.dialogue import AtDialogue, Completed, Prompted
from firmware_bridge.at.states import AtState
from firmware_bridge.at.urc import Urc
from firmware_bridge.errors import UnsafeArgument
from firmware_bridge.pdu import submits
from firmware_bridge.profiles import load_profiles
from firmware_bridge.transcript import Transcript

FOLDER = Path(__file__).parent / "transcripts"
FILES = sorted(FOLDER.glob("*.txt"))
STARTED = [f for f in FILES if Transcript.read(f).expected]


def replay(transcript: Transcript, seed: int | None) -> list[Any]:
    """Completed commands and codes, with reads cut anew: None as recorded, 0 byte by byte, else at random."""
    dialogue, now, found = AtDialogue(), 0.0, []

    def note(events: list[Any]) -> None:
        found.extend(e for e in events if isinstance(e, Completed | Urc))

    writes = [p.data for p in transcript.pieces if p.direction == ">"]
    rng = random.Random(seed)
    for piece in transcript.pieces:
        if piece.direction == ">":
            writes.pop(0)
            while not (dialogue.idle or dialogue.state is AtState.PROMPTED):
                due = dialogue.next_deadline()
                assert due is not None
                now = max(now, due)
                note(dialogue.deadline_passed(now=now))
                if dialogue.state is AtState.DESYNCED:
                    dialogue.receive(b"\r\nOK\r\n", now=now)
            if dialogue.state is AtState.PROMPTED:
                dialogue.payload(now=now)
            elif piece.data.startswith(b"\x1b"):
                dialogue.resync(now=now)
            else:
                after = writes[0] if writes else b""
                pdu = after.rstrip(b"\x1a").decode() if after.endswith(b"\x1a") else None
                try:
                    command = AtCommand(piece.data.decode("latin-1").rstrip("\r"), payload=pdu)
                except UnsafeArgument:
                    continue
                dialogue.send(command, now=now)
            continue
        size = {None: len(piece.data), 0: 1}.get(seed) or rng.randint(1, 7)
        for at in range(0, len(piece.data), size):
            now += 0.0001
            events = dialogue.receive(piece.data[at : at + size], now=now)
            note(events)
            assert not any(isinstance(e, Prompted) for e in events) or dialogue.state is AtState.PROMPTED
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_transcript_reads_the_same_in_every_split(path: Path) -> None:
    transcript = Transcript.read(path)
    as_recorded = replay(transcript, None)
    assert as_recorded
    assert replay(transcript, 0) == as_recorded
    for seed in range(1, 6):
        assert replay(transcript, seed) == as_recorded


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_transcript_survives_being_written_again(path: Path) -> None:
    transcript = Transcript.read(path)
    again = Transcript.parse(transcript.format(), name=path.stem)
    assert (again.head, again.pieces) == (transcript.head, transcript.pieces)


def play(transcript: Transcript, fake: Any) -> None:
    """Make the scripted modem answer as the transcript does: each question's answers in order, the last
    again.
    """
    answers: dict[str, list[bytes]] = {}
    pdu_answers: list[bytes] = []
    for asked, answer in transcript.exchanges():
        if asked is None:
            fake.write(answer)
        elif asked.endswith(b"\x1a"):
            pdu_answers.append(answer)
        elif not asked.startswith(b"\x1b"):
            answers.setdefault(asked.decode("latin-1").strip(), []).append(answer)
    unknown = transcript.head.get("unknown", "ERROR")

    def say(fake: Any, line: str) -> bytes | str:
        key = re.sub(r"\AAT\+CMGS=\d+\Z", "AT+CMGS=18", line)
        queue = answers.get(key)
        if queue is None:
            return "OK" if line == "AT" else unknown
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        fake._expecting_pdu = key.startswith("AT+CMGS=") and b">" in answer
        return answer

    fake.echo = False
    fake.on(".*", say)
    fake.sent_answer = lambda f, line: pdu_answers.pop(0) if len(pdu_answers) > 1 else pdu_answers[0]


@pytest.mark.parametrize("path", STARTED, ids=lambda p: p.stem)
async def test_transcript_starts_the_modem(path: Path, fake: Any, harness: Any, monkeypatch: Any) -> None:
    # The seconds between two tries of a modem that is starting are not what is tested here.
    monkeypatch.setattr("firmware_bridge.startup.RETRY_S", 0.01)
    monkeypatch.setattr("firmware_bridge.inbox.CONFIRM_S", 0.05)
    transcript = Transcript.read(path)
    play(transcript, fake)
    modem = harness.start(fake.path)
    await harness.ready()
    expected = transcript.expected
    facts = modem._driver.facts
    found = {
        "profile": facts.profile.name,
        "model": facts.model,
        "firmware": facts.firmware,
        "memory": facts.receiving,
        "notify": str(facts.notify),
        "csms": str(facts.csms),
        "smsc": str(facts.smsc),
        "iccid": str(facts.iccid),
        "registration": str(facts.registration),
    }
    if "received" in expected:
        # Some are only there once something was sent.
        if "send" in expected:
            found["send"] = str(await modem.send(submits("+251911222333", "Hello", reference=1)[0]))
        await harness.until(lambda: harness.received)
        found["received"] = "|".join(r.deliver.text or "" for r in harness.received)
    if "reports" in expected:
        await harness.until(lambda: harness.reports)
        found["reports"] = str(len(harness.reports))
    if "send" in expected and "send" not in found:
        found["send"] = str(await modem.send(submits("+251911222333", "Hello", reference=1)[0]))
    assert {k: found.get(k) for k in expected} == expected


def test_every_profile_has_a_transcript_and_an_origin() -> None:
    tested = {Transcript.read(f).expected.get("profile") for f in FILES}
    for profile in load_profiles():
        assert profile.name in tested, f"no transcript expects the profile {profile.name}"
        assert profile.origin
