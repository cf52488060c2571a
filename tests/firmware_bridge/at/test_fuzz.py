"""Lexer and dialogue against random bytes, random splits and mutations of real dialogues.

No exception but our own for our own misuse, no unbounded buffer, no state without a way out.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from firmware_bridge.at.command import AtCommand, basic
from firmware_bridge.at.dialogue import AtDialogue, Completed, Prompted, Silent, TimedOut, Urc, Write
from firmware_bridge.at.lexer import MAX_LINE, Lexer
from firmware_bridge.at.states import AtState
from firmware_bridge.transcript import Transcript

PDU = "07915219010000F0040B915219112233F300006211223173012104D3E6B03B"
SEEDS = [
    b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n",
    f'\r\n+CMGL: 1,1,,25\r\n{PDU}\r\n+CMTI: "SM",2\r\n\r\nOK\r\n'.encode(),
    f"\r\n+CMT: ,25\r\n{PDU}\r\n".encode(),
    f"\r\n+CDS: 25\r\n{PDU}\r\n".encode(),
    b"\r\n> ",
    b"\r\n+CMGS: 3\r\n\r\nOK\r\n",
    b'\r\n+CUSD: 1,"menu\r\n1 one\r\n2 two",15\r\n',
    b"\r\nRDY\r\n\r\n+CFUN: 1\r\n\r\n+CPIN: READY\r\n\r\nSMS Ready\r\n",
    b"\r\n+CMS ERROR: 500\r\n",
    b'\r\n+CREG: 2,1,"00C3","BEEF",7\r\n\r\nOK\r\n',
    b"\r\nRING\r\n\r\nNO CARRIER\r\n",
]
# What real modems and faithful copies of them said, as recorded beside the start-up tests.
SEEDS += [
    piece.data
    for path in sorted((Path(__file__).parents[1] / "transcripts").glob("*.txt"))
    for piece in Transcript.read(path).pieces
    if piece.direction == "<"
]
COMMANDS = [
    basic("AT+CSQ"),
    basic("AT+CREG?"),
    basic("AT+CMGL=4"),
    AtCommand("AT+CMGS=25", payload=PDU),
    AtCommand('AT+CUSD=1,"*804#",15'),
]


def mutate(rng: random.Random, data: bytes) -> bytes:
    piece = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(piece) + 1)
        what = rng.randrange(5)
        if what == 0 and piece:
            piece[at % len(piece)] = rng.randrange(256)
        elif what == 1:
            piece[at:at] = rng.randbytes(rng.randrange(8))
        elif what == 2:
            del piece[at : at + rng.randrange(8)]
        elif what == 3:
            piece[at:at] = rng.choice(SEEDS)
        else:
            piece[at:at] = rng.choice([b"\r", b"\n", b'"', b">", b",", b"\x1a", b"\x00"]) * rng.randrange(4)
    return bytes(piece)


def stream(rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(400))
    return b"".join(mutate(rng, rng.choice(SEEDS)) for _ in range(rng.randrange(1, 6)))


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(rng.sample(range(len(data) + 1), min(len(data), rng.randrange(6))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_lexer_tokens_do_not_depend_on_the_split(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        data = stream(rng)
        prompt = rng.random() < 0.5
        found = []
        for parts in ([data], [data[i : i + 1] for i in range(len(data))], pieces(rng, data)):
            lexer = Lexer()
            lexer.expect_prompt = prompt
            found.append([token for part in parts for token in lexer.feed(part)])
            assert lexer.buffered <= MAX_LINE
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("seed", range(12))
def test_dialogue_survives_anything_and_finds_back(seed: int) -> None:
    rng = random.Random(1000 + seed)
    dialogue = AtDialogue()
    now = 0.0
    for _ in range(600):
        now += rng.random()
        if dialogue.idle:
            dialogue.send(rng.choice(COMMANDS), now=now)
        for part in pieces(rng, stream(rng)):
            for event in dialogue.receive(part, now=now):
                prompted = isinstance(event, Prompted) and dialogue.state is AtState.PROMPTED
                if prompted and rng.random() < 0.9:
                    if rng.random() < 0.8:
                        dialogue.payload(now=now)
                    else:
                        dialogue.abort(now=now)
        assert dialogue.buffered < 600_000
        due = dialogue.next_deadline()
        if due is not None and rng.random() < 0.3:
            now = max(now, due)
            events = dialogue.deadline_passed(now=now)
            if any(isinstance(e, Silent) for e in events):
                dialogue.reset()
    # Whatever it was in the middle of: a modem that answers AT is spoken to again.
    for _ in range(20):
        if dialogue.idle:
            break
        due = dialogue.next_deadline()
        if due is None:
            dialogue.reset()
            break
        now = max(now, due)
        dialogue.deadline_passed(now=now)
        dialogue.receive(b"\r\nOK\r\n", now=now)
    dialogue.receive(b"\r\n", now=now)
    assert dialogue.idle
    dialogue.send(basic("AT+CSQ"), now=now + 100)
    events = dialogue.receive(b"\r\n+CSQ: 1,1\r\n\r\nOK\r\n", now=now + 100)
    assert any(isinstance(e, Completed) and e.lines[-1:] == ("+CSQ: 1,1",) for e in events)


@pytest.mark.parametrize("seed", range(4))
def test_dialogue_events_of_a_mutated_dialogue_do_not_depend_on_the_split(seed: int) -> None:
    rng = random.Random(2000 + seed)
    for _ in range(300):
        data = stream(rng)
        # Without a prompt: what comes in the same read as one depends on when we could answer it.
        command = rng.choice([c for c in COMMANDS if c.payload is None])
        found = []
        for parts in ([data], [data[i : i + 1] for i in range(len(data))], pieces(rng, data)):
            dialogue = AtDialogue()
            dialogue.send(command, now=0.0)
            events = []
            for part in parts:
                for event in dialogue.receive(part, now=1.0):
                    events.append(event)
                    if isinstance(event, Prompted) and dialogue.state.value == "prompted":
                        dialogue.payload(now=1.0)
            found.append([e for e in events if isinstance(e, Completed | Urc | TimedOut | Write)])
        assert found[0] == found[1] == found[2]
