"""USSD: what may be dialled, and reading answers in every alphabet that modems hand them over in.

An answer is `+CUSD: <m>[,"<text>"[,<dcs>]]` (TS 27.007 7.15). The text comes plain, as UCS-2 in hex, or as
packed 7-bit octets in hex, and <dcs> tells which only on some modems; so the text itself is looked at too.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from firmware_bridge.at.command import AtCommand, attempt, basic
from firmware_bridge.at.urc import Urc, UrcKind, is_hex
from firmware_bridge.errors import AtError, AtTimeout, BadUssd, UssdError, UssdTimeout
from firmware_bridge.line import Line
from firmware_bridge.pdu import alphabet, septets

__all__ = ["UssdAnswer", "UssdState", "allowed", "dial", "read_answer"]

ANSWER_S: Final = 40.0  # networks give up after 30 s or so
_CODE: Final = re.compile(r"[*#0-9A-Za-z .,]{1,64}\Z")


class UssdState(enum.IntEnum):
    """<m> of +CUSD."""

    DONE = 0
    REPLY_WANTED = 1
    ENDED_BY_NETWORK = 2
    ANSWERED_ELSEWHERE = 3
    NOT_SUPPORTED = 4
    TIMEOUT = 5


@dataclass(frozen=True, slots=True)
class UssdAnswer:
    """text: None when the network gave none. raw: the line as it came, for a technician."""

    state: UssdState
    text: str | None
    raw: str


def allowed(code: str, patterns: Sequence[str]) -> bool:
    """True if `code` matches one of the patterns, where `?` is any one and `*` only itself: USSD is full of
    stars.

    A pattern may end in `…` or `...` for any digits and `#`, e.g. `*805*...`.
    """
    for pattern in patterns:
        body, more = pattern, False
        for tail in ("...", "…"):
            if body.endswith(tail):
                body, more = body[: -len(tail)], True
        glob = re.sub(r"[*\[]", lambda m: f"[{m[0]}]", body)
        if fnmatchcase(code, glob):
            return True
        if more and fnmatchcase(code[: len(body)], glob) and re.fullmatch(r"[0-9*#]*", code[len(body) :]):
            return True
    return False


def read_answer(line: str, *, packed: bool = False) -> UssdAnswer:
    """Read one +CUSD line. packed: this modem's hex is packed 7-bit (Huawei in its USSD PDU mode) when dcs
    says so.

    Never raises: what cannot be decoded is given as it came.
    """
    rest = line.partition(":")[2].strip()
    match = re.match(r'(\d)\s*(?:,\s*"?(.*?)"?\s*(?:,\s*"?(\d{1,3})"?)?\s*)?\Z', rest, re.DOTALL)
    if match is None:
        return UssdAnswer(UssdState.DONE, rest or None, line)
    number, text, dcs = match[1], match[2], match[3]
    state = UssdState(int(number)) if int(number) <= 5 else UssdState.DONE
    if not text:
        return UssdAnswer(state, None, line)
    return UssdAnswer(state, _text(text, None if dcs is None else int(dcs), packed), line)


def _text(text: str, dcs: int | None, packed: bool) -> str:
    compact = re.sub(r"\s", "", text)
    says_ucs2 = dcs is not None and (dcs & 0xFC == 0x48 or dcs == 0x11)
    # A short run of digits is a balance, not two characters in hex.
    if is_hex(compact, least=2) and (says_ucs2 or not compact.isdigit() or len(compact) >= 8):
        octets = bytes.fromhex(compact)
        readings = (
            [_septets(octets), _ucs2(octets)]
            if packed and not says_ucs2
            else [_ucs2(octets), _septets(octets)]
        )
        readings.append(_plain_octets(octets))
        sensible = [r for r in readings if r is not None and _sensible(r)]
        if sensible:
            return max(sensible, key=_commonness)  # the first of equals
        return text
    if any(ord(c) > 0x7F for c in text):
        # The lexer keeps octets; UTF-8 is what CSCS="UTF-8" modems send.
        with contextlib.suppress(UnicodeDecodeError):
            return text.encode("latin-1").decode("utf-8")
    return text


def _ucs2(octets: bytes) -> str | None:
    if len(octets) % 2:
        return None
    try:
        return octets.decode("utf-16-be").lstrip("\ufeff")
    except UnicodeDecodeError:
        return None


def _septets(octets: bytes) -> str | None:
    count = len(octets) * 8 // 7
    try:
        found = alphabet.decode_gsm7(septets.unpack_septets(octets, count=count))
    except Exception:  # whatever the codec objects to, the answer is then in another alphabet
        return None
    # TS 23.038 6.1.2.3.1: a last octet with room for one more character is padded with CR, or with zero bits.
    return found.removesuffix("\r").removesuffix("@") if len(octets) % 7 == 0 else found


def _plain_octets(octets: bytes) -> str | None:
    return octets.decode("latin-1") if all(0x20 <= o < 0x7F or o in (10, 13) for o in octets) else None


def _sensible(text: str) -> bool:
    """Letters that people write, not an arrangement of bits: one script beside ASCII, few odd characters."""
    if not text:
        return False
    odd = 0
    scripts = set()
    for character in text:
        point = ord(character)
        if character in "\r\n\t" or 0x20 <= point < 0x7F:
            continue
        if point < 0x20 or 0xE000 <= point < 0xF900 or 0xFFF0 <= point or 0x80 <= point < 0xA0:
            return False
        scripts.add(point >> 8 if point >= 0x250 else 0)
        odd += point < 0x250
    # Ethiopic fills 0x12xx and 0x13xx; Arabic and Cyrillic stay in one block each.
    folded = {0x12 if s in (0x12, 0x13, 0x2D, 0xAB) else s for s in scripts if s and s != 0x20}
    return len(folded) <= 1 and odd * 2 <= len(text)


_COMMON: Final = re.compile(r"[A-Za-z0-9 .,:;*#'!?()\n-]|[^\W\d_\u0000-\u02ff]")


def _commonness(text: str) -> float:
    """Share of the characters that texts of operators are made of."""
    return len(_COMMON.findall(text)) / len(text)


async def dial(
    line: Line,
    code: str,
    listen: Callable[[Callable[[Urc], None]], Callable[[], None]],
    *,
    reply: bool = False,
    packed: bool = False,
    timeout_s: float = ANSWER_S,
) -> UssdAnswer:
    """Dial `code`, or answer an open menu with it, and wait for the network. The caller holds the line's
    turn.

    listen: registers a listener for codes and returns its removal. Raises UssdError with the reason.
    """
    if not _CODE.match(code):
        raise BadUssd(f"not a USSD code: {code!r}")
    answer: asyncio.Future[UssdAnswer] = asyncio.get_running_loop().create_future()

    def heard(event: Urc) -> None:
        if event.kind is UrcKind.USSD and not answer.done():
            answer.set_result(read_answer(event.line, packed=packed))

    remove = listen(heard)
    try:
        await line.execute(_dial_command(code, packed))
        async with asyncio.timeout(timeout_s):
            return await answer
    except AtError as e:
        raise UssdError(f"the modem refused {code}: {e.result}") from e
    except AtTimeout as e:
        raise UssdTimeout(f"the modem did not answer {code}") from e
    except TimeoutError as e:
        with contextlib.suppress(AtError, AtTimeout):
            await line.execute(basic("AT+CUSD=2"))
        raise UssdTimeout(f"the network did not answer {code} in {timeout_s:g} s") from e
    finally:
        remove()


async def hang_up(line: Line) -> None:
    """End an open menu."""
    with contextlib.suppress(AtError, AtTimeout):
        await line.execute(basic("AT+CUSD=2"))


def _dial_command(code: str, packed: bool) -> AtCommand:
    text = code
    if packed:
        digits = alphabet.encode_gsm7(code)
        # TS 23.038 6.1.2.3.1: seven spare bits would read as one more character, @; CR says that it is none.
        text = septets.pack_septets(digits + b"\r" if len(digits) % 8 == 7 else digits).hex().upper()
    return attempt("+CUSD", 1, text, 15, timeout_s=30.0)
