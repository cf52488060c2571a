"""Our decoder beside gammu's on random messages: every disagreement has a name and a reason here.

Needs python3-gammu from Debian (apt-get install python3-gammu). Found with gammu 1.42.0:

star and hash     gammu drops `*`, `#`, a, b and c from numbers (`*179#` reads as `179`); 23.040 9.1.2.3
                  has them as digits.
over-read         behind a text with extension characters python3-gammu hands out a NUL and whatever
                  stood in memory: it allots one place per septet. Ours ends where the text ends.
half a pair       a part with half a surrogate pair: gammu shows the half or U+FFFD. We give no text
                  until the other part is here, and join the octets first.

In corners that no phone of today sends by itself (CORNERS below):

lone escape       an escape with an unknown code, another escape or nothing behind it: gammu shows `¹`
                  before the next character. We show the basic character or a space (23.038 6.2.1.1).
language          gammu has no national shift tables.
reserved coding   gammu reads reserved TP-DCS as data and refuses compressed ones. 23.038 clause 4 wants
                  the default alphabet for reserved ones; a compressed text we hand on as data.
deletion group    TP-DCS 0x50 to 0x7F: gammu knows the alphabet and loses the message class.
waiting as data   TP-DCS 0xE4 to 0xEF: bit 2 of the message waiting groups is reserved, gammu then reads
                  8-bit data and we the UCS-2 of the group.
hex time          gammu reads hex digits in a time stamp as a date; we say that it is no time.
header order      gammu knows whole headers only and finds no concatenation element in front of a
                  port element; 23.040 9.2.3.24 lets elements stand in any order.
enhanced TP-VP    gammu refuses it.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.pdu import Address, Concat, Deliver, EnhancedValidity, Scts, StatusReport, Submit
from firmware_bridge.pdu.alphabet import ESCAPE, EXTENSION
from firmware_bridge.pdu.user_data_header import make_header

pytestmark = pytest.mark.interop

SYSTEM_PYTHON = "/usr/bin/python3"
MESSAGES = 3000


@pytest.fixture(scope="module")
def gammu() -> Any:
    """A function from PDUs in hex to gammu's reading of each."""
    if shutil.which(SYSTEM_PYTHON) is None:
        pytest.skip(f"{SYSTEM_PYTHON} is absent; gammu's module is built for it")
    probe = subprocess.run([SYSTEM_PYTHON, "-c", "import gammu"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip("python3-gammu is absent: apt-get install python3-gammu")

    def read(pdus: list[str]) -> list[dict[str, Any]]:
        script = Path(__file__).with_name("gammu_decode.py")
        done = subprocess.run(
            [SYSTEM_PYTHON, str(script)],
            input="\n".join(pdus) + "\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return read


def random_address(source: random.Random) -> Address:
    match source.randrange(4):
        case 0:
            return Address("+" + _digits(source, "0123456789", 7, 15), 1, 1)
        case 1:
            return Address(_digits(source, "0123456789", 3, 12), source.choice([0, 2, 3, 4]), 1)
        case 2:
            return Address(_digits(source, "0123456789*#", 3, 8), 0, 1)
    name = _digits(source, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij .-", 1, 11)
    return Address(name.strip() or "X", 5, 0)


def _digits(source: random.Random, alphabet: str, least: int, most: int) -> str:
    return "".join(source.choices(alphabet, k=source.randint(least, most)))


def random_stamp(source: random.Random) -> Scts:
    zone = timezone(timedelta(minutes=15 * source.randint(-48, 56)))
    moment = datetime(2000, 1, 2, tzinfo=zone) + timedelta(seconds=source.randrange(60 * 365 * 86400))
    return Scts.from_datetime(moment)


def random_user_data(source: random.Random) -> dict[str, Any]:
    """dcs, udh and data of a message that a phone could send."""
    dcs = source.choice([0, 0, 0, 4, 8, 8, 0x10, 0x11, 0x15, 0x18, 0xF0, 0xF1, 0xF5, 0xF6])
    udh = b""
    if source.random() < 0.4:
        bits = source.choice([8, 16])
        total = source.randint(1, 255)
        udh = make_header(Concat(source.randrange(1 << bits), total, source.randint(1, total), bits).encode())
    if dcs & 0x0C == 0x08 and dcs < 0x20:
        room = (140 - len(udh)) // 2
        characters = "ሰላምጤናይስጥልኝ😀é’ABCабв"
        octets = "".join(source.choices(characters, k=source.randint(0, room))).encode("utf-16-be")
        data = octets[: 2 * room]  # may cut a pair, as handsets do
    elif dcs & 0x04:
        data = source.randbytes(source.randint(0, 140 - len(udh)))
    else:
        septets: list[int] = []
        room = 160 - (8 * len(udh) + 6) // 7
        for _ in range(source.randint(0, room)):
            if source.random() < 0.05:
                septets += [ESCAPE, source.choice(sorted(EXTENSION))]
            else:
                septets.append(source.choice([s for s in range(128) if s != ESCAPE]))
        data = bytes(septets[:room])
        if data.endswith(bytes([ESCAPE])):
            data = data[:-1]
    return {"dcs": dcs, "udh": udh, "data": data}


def random_message(source: random.Random) -> Deliver | Submit | StatusReport:
    sca = source.choice([None, Address("+251911299708", 1, 1)])
    match source.randrange(5):
        case 0 | 1:
            return Deliver(random_address(source), random_stamp(source), sca=sca, **random_user_data(source))
        case 2 | 3:
            return Submit(
                random_address(source),
                sca=sca,
                mr=source.randrange(256),
                reject_duplicates=source.random() < 0.2,
                status_report=source.random() < 0.3,
                validity=source.choice([None, 300, 86400]),
                **random_user_data(source),
            )
    return StatusReport(
        random_address(source),
        random_stamp(source),
        random_stamp(source),
        source.choice([0, 1, 2, 0x20, 0x21, 0x25, 0x30, 0x40, 0x46, 0x5F, 0x60, 0x65]),
        mr=source.randrange(256),
        sca=sca,
    )


def disagreements(message: Deliver | Submit | StatusReport, theirs: dict[str, Any]) -> list[str]:
    """What gammu reads otherwise: names from this file's head, or a description of the unexpected."""
    found = []
    address = message.sender if isinstance(message, Deliver) else message.recipient
    if address.digits != theirs["number"]:
        plain = address.digits.translate(str.maketrans("", "", "*#abc"))
        found.append(
            "star and hash" if plain == theirs["number"] else f"number {address.digits} {theirs['number']}"
        )
    if isinstance(message, StatusReport | Deliver) and message.scts.isoformat()[:19] != theirs["time"]:
        found.append(f"time {message.scts.isoformat()} {theirs['time']}")
    if isinstance(message, StatusReport | Submit) and message.mr != theirs["reference"]:
        found.append(f"reference {message.mr} {theirs['reference']}")
    if isinstance(message, StatusReport):
        if message.status != theirs["status"]:
            found.append(f"status {message.status} {theirs['status']}")
        return found
    if (message.message_class if message.message_class is not None else -1) != theirs["class"]:
        found.append(f"class {message.message_class} {theirs['class']}")
    if message.udh.hex().upper() != theirs["udh"]:
        found.append(f"header {message.udh.hex()} {theirs['udh']}")
    if (concat := message.concat) is not None:
        ours = (concat.reference, concat.sequence, concat.total)
        reference = theirs["id8"] if concat.reference_bits == 8 else theirs["id16"]
        if ours != (reference, theirs["part"], theirs["parts"]):
            found.append(f"concatenation {concat} {theirs}")
    if message.encoding == "8bit":
        if message.data.hex().upper() != theirs["text"]:
            found.append(f"data {message.data.hex()} {theirs['text']}")
    elif message.text is None:
        found.append("half a pair")
    elif message.text != theirs["text"]:
        over_read = message.encoding == "gsm7" and theirs["text"].startswith(message.text + "\0")
        found.append("over-read" if over_read else f"text {message.text!r} {theirs['text']!r}")
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_decoder_beside_gammu_disagrees_only_where_explained(gammu: Any, seed: int) -> None:
    source = random.Random(seed)
    messages = [random_message(source) for _ in range(MESSAGES)]
    readings = gammu([message.encode().hex() for message in messages])
    assert len(readings) == MESSAGES
    counts: Counter[str] = Counter()
    for message, theirs in zip(messages, readings, strict=True):
        again = type(message).decode(message.encode())
        assert again == message
        names = [f"error {theirs['error']}"] if "error" in theirs else disagreements(message, theirs)
        counts.update(names or ["agree"])
    explained = {"agree", "star and hash", "over-read", "half a pair"}
    unexplained = {name: count for name, count in counts.items() if name not in explained}
    print(dict(counts - Counter(unexplained)))
    assert not unexplained, list(unexplained.items())[:5]
    assert counts["agree"] > MESSAGES / 2


ANYONE = Address("+251911234567", 1, 1)
NOON = Scts.from_iso("2026-03-01T12:00:00+03:00")
CORNERS = {
    "lone escape": [
        (Deliver(ANYONE, NOON, b"a\x1bAb"), "text 'aAb' 'a¹Ab'"),
        (Deliver(ANYONE, NOON, b"a\x1b\x1bb"), "text 'a b' 'a¹¹b'"),
        (Deliver(ANYONE, NOON, b"a\x1b"), "text 'a ' 'a¹'"),
    ],
    "language": [(Deliver(ANYONE, NOON, b"\x1bSa", udh=bytes.fromhex("03240101")), "text 'Şa' '¹Sa'")],
    "reserved coding": [
        (Deliver(ANYONE, NOON, b"abc", dcs=0x0C), "text 'abc' '61F118'"),
        (Deliver(ANYONE, NOON, b"abc", dcs=0x8F), "text 'abc' '61F118'"),
        (Deliver(ANYONE, NOON, b"abc", dcs=0x20), "error Function not supported by phone."),
    ],
    "deletion group": [(Deliver(ANYONE, NOON, b"abc", dcs=0x51), "class 1 -1")],
    "waiting as data": [(Deliver(ANYONE, NOON, b"\0a", dcs=0xE4), "text 'a' '0061'")],
    "hex time": [(Deliver(ANYONE, Scts(bytes.fromhex("6A211010101021")), b"a"), "time  2096-12-01T01:01:01")],
    "header order": [
        (Deliver(ANYONE, NOON, b"a", udh=bytes.fromhex("0B000301020105040B8423F0")), "concatenation ")
    ],
    "enhanced TP-VP": [
        (
            Submit(ANYONE, b"a", validity=EnhancedValidity(bytes.fromhex("01A70000000000"))),
            "error Unknown error.",
        )
    ],
}


@pytest.mark.parametrize("name", CORNERS)
def test_decoder_beside_gammu_disagrees_in_corners_as_explained(gammu: Any, name: str) -> None:
    readings = gammu([message.encode().hex() for message, _ in CORNERS[name]])
    for (message, expected), theirs in zip(CORNERS[name], readings, strict=True):
        assert type(message).decode(message.encode()) == message
        found = [f"error {theirs['error']}"] if "error" in theirs else disagreements(message, theirs)
        assert len(found) == 1 and found[0].startswith(expected), found
