"""The port is pulled away in the middle of sends, again and again, and the books must balance."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from firmware_bridge.errors import SendError
from firmware_bridge.pdu import Submit, submits

PULLS = 20


async def test_modem_pulled_in_mid_send_every_message_is_sent_or_visibly_uncertain(
    fake: Any, harness: Any, tmp_path: Path
) -> None:
    rng = random.Random(7)
    link = tmp_path / "ttyUSB0"
    link.symlink_to(fake.path)
    modem = harness.start(str(link))
    await harness.ready()
    loop = asyncio.get_running_loop()
    pulls = 0

    def pull() -> None:
        nonlocal pulls
        pulls += 1
        link.unlink()
        fake.close()
        loop.call_later(0.01, plug)

    def plug() -> None:
        fake.open()
        fake.echo = True
        fake._buffer, fake._expecting_pdu = b"", False
        link.symlink_to(fake.path)

    def maybe(where: str) -> bool:
        if fake.master >= 0 and pulls < PULLS and rng.random() < 0.2:
            pull()
            return True
        return False

    def prompt(f: Any, line: str) -> bytes | None:
        if maybe("at the command"):
            return None
        f._expecting_pdu = True
        return b"\r\n> "

    def answer(f: Any, pdu: str) -> str | None:
        if maybe("after the PDU"):
            return None
        f.mr = (f.mr + 1) % 256
        return f"+CMGS: {f.mr}\nOK"

    fake.on(r"AT\+CMGS=\d+", prompt)
    fake.sent_answer = answer
    outcome: dict[str, str] = {}
    number = 0
    async with asyncio.timeout(60):
        while pulls < PULLS:
            number += 1
            text = f"message {number}"
            submit = submits("+251911222333", text, reference=number % 256)[0]
            try:
                await modem.wait_ready()
                await modem.send(submit)
                outcome[text] = "sent"
            except SendError as e:
                outcome[text] = "uncertain" if e.ambiguous else "not sent"
    seen = [Submit.decode(bytes.fromhex(p)).text for p in fake.pdus]
    assert len(seen) == len(set(seen))
    for text, what in outcome.items():
        assert (text in seen) or what != "sent", text
        # What the modem had in hand may not be called unsent: it would be sent twice.
        assert text not in seen or what in ("sent", "uncertain"), text
    assert list(outcome.values()).count("uncertain") > 3
    assert list(outcome.values()).count("not sent") > 3
