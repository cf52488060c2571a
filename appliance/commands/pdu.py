"""`outpost pdu decode` and `outpost pdu encode`: SMS PDUs taken apart and put together.

Both read JSON lines and write one JSON line for each; docs/pdu.md has the fields. With a PDU, or a
number and a text, as arguments they print for people instead.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, TypeVar

from firmware_bridge.errors import BridgeError, UsageError
from firmware_bridge.pdu import Address, Scts, Submit, Validity, fold_to_gsm7, segment, submits
from firmware_bridge.pdu.annotate import annotate, direction_of, format_annotations
from firmware_bridge.pdu.fields import DIRECTIONS, decode_message, from_fields, to_fields
from firmware_bridge.pdu.tp_dcs import Encoding

__all__ = ["configure", "decode_line", "encode_line", "run"]

Line = dict[str, Any]
T = TypeVar("T")

MAX_ERROR: Final = 300  # characters

ALPHABETS: Final[dict[str, Encoding | None]] = {
    "auto": None,
    "gsm7": "gsm7",
    "gsm-7": "gsm7",
    "ucs2": "ucs2",
    "ucs-2": "ucs2",
}


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="decode|encode", dest="action", required=True)
    decode = actions.add_parser(
        "decode",
        help="fields of PDUs: JSON lines {id, direction, pdu_hex} on standard input, or one PDU in hex",
    )
    decode.add_argument("pdu", nargs="?", metavar="HEX", help="one PDU, to be printed octet by octet")
    decode.add_argument(
        "--direction", choices=DIRECTIONS, help="kind of message; by its first octet if not given"
    )
    decode.add_argument("--no-sca", action="store_true", help="the PDU begins with the TPDU itself")
    encode = actions.add_parser(
        "encode",
        help="PDUs of texts: JSON lines {dest, text, ...} on standard input, or a number and a text",
    )
    encode.add_argument("dest", nargs="?", metavar="NUMBER", help="who gets it")
    encode.add_argument("text", nargs="?", metavar="TEXT", help="what it says")


def run(args: argparse.Namespace) -> int:
    if args.action == "decode":
        if args.pdu is not None:
            return _print_pdu(args)
        return _each_line(
            sys.stdin.buffer, sys.stdout.buffer, lambda line: decode_line(line, not args.no_sca)
        )
    if args.dest is not None:
        return _print_submits(args)
    return _each_line(sys.stdin.buffer, sys.stdout.buffer, encode_line)


def _each_line(source: BinaryIO, target: BinaryIO, work: Callable[[Line], Line]) -> int:
    """One answer for each line; a bad line answers with its error and the next one is read."""
    for raw in source:
        if not raw.strip():
            continue
        line_id = None
        try:
            line = _parse(raw)
            if not isinstance(line, dict):
                raise UsageError("a line is one JSON object")
            line_id = line.get("id")
            answer = ({"id": line_id} if "id" in line else {}) | work(line)
        except BridgeError as error:
            answer = {"id": line_id, "error": _short(str(error))}
        # ASCII escapes carry what UTF-8 cannot, such as half a surrogate pair in an echoed id
        target.write(json.dumps(answer, ensure_ascii=not _is_utf8(answer)).encode() + b"\n")
        target.flush()
    return 0


def _short(error: str) -> str:
    """Most errors show the value that will not do, and a value may be a book."""
    return error if len(error) <= MAX_ERROR else f"{error[: MAX_ERROR // 2]} … {error[-MAX_ERROR // 2 :]}"


def _finite(digits: str) -> float:
    """1e400 is a number in JSON, but what Python writes for it, Infinity, is not."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is too big")
    return number


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _parse(raw: bytes) -> object:
    try:
        return json.loads(raw, parse_float=_finite, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None


def _is_utf8(answer: Line) -> bool:
    try:
        json.dumps(answer, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _hex(value: object, name: str) -> bytes:
    if not isinstance(value, str):
        raise UsageError(f"{name}: {value!r}; want a text of hex digits")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise UsageError(f"{name}: not hexadecimal, or half an octet at its end") from None


def decode_line(line: Line, has_sca: bool = True) -> Line:
    """The fields of the PDU in `pdu_hex`. direction: by TP-MTI when missing. Raises BridgeError."""
    pdu = _hex(line.get("pdu_hex"), "pdu_hex")
    direction = line.get("direction")
    if direction is None:
        direction = direction_of(pdu, has_sca=has_sca)
    return to_fields(decode_message(pdu, str(direction), has_sca=has_sca))


def encode_line(line: Line) -> Line:
    """The PDUs of a text; or, for a line with `direction` and fields as decode gives them, one PDU.

    Raises BridgeError for what cannot be sent.
    """
    if "direction" in line:
        fields = line.get("fields", line)
        if not isinstance(fields, dict):
            raise UsageError("fields: want an object")
        message = from_fields(str(line["direction"]), fields)
        return {"pdu_hex": message.encode().hex().upper(), "tpdu_length": message.tpdu_length}
    text = line.get("text")
    if not isinstance(text, str):
        raise UsageError(f"text: {text!r}; want a text")
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise UsageError("text: half of a surrogate pair")
    return {
        "dest": line.get("dest"),
        "text": text,
        "pdus": [part.encode().hex().upper() for part in _submits(line, text)],
    }


def _submits(line: Line, text: str) -> tuple[Submit, ...]:
    dest = line.get("dest")
    if not isinstance(dest, str):
        raise UsageError(f"dest: {dest!r}; want a number such as +251911234567")
    recipient = Address.parse(dest)
    if recipient.is_alphanumeric:
        raise UsageError(f"dest: {dest!r} is a name; want a number such as +251911234567")
    reference = _option(line, "reference", int, zlib.crc32(f"{dest} {text}".encode()) & 0xFF)
    if not 0 <= reference <= 0xFFFF:
        raise UsageError(f"reference: {reference}; want 0 to 65535")
    bits = _option(line, "reference_bits", int, 16 if reference > 0xFF else 8)
    message_class = line.get("class")
    if message_class is not None:
        message_class = _option(line, "class", int, 0)
    alphabet = _option(line, "alphabet", str, "auto").lower()
    if alphabet not in ALPHABETS:
        raise UsageError(f"alphabet: {alphabet!r}; want gsm7, ucs2 or auto")
    return submits(
        recipient,
        text,
        reference=reference,
        reference_bits=bits,
        status_report=_option(line, "report", bool, False),
        validity_s=_validity(line.get("validity")),
        message_class=message_class,
        encoding=ALPHABETS[alphabet],
    )


def _option(line: Line, name: str, kind: type[T], default: T) -> T:
    value = line.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"{name}: {value!r}; want {kind.__name__}")
    return value


def _validity(value: object) -> Validity:
    """Seconds, or a time with its zone."""
    if isinstance(value, str):
        return Scts.from_iso(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise UsageError(f"validity: {value!r}; want seconds or a time such as 2026-03-01T12:30:00+03:00")


def _print_pdu(args: argparse.Namespace) -> int:
    try:
        pdu = _hex(args.pdu, "PDU")
    except UsageError as error:
        print(f"outpost pdu decode: {error}", file=sys.stderr)
        return 2
    notes, fault = annotate(pdu, args.direction, has_sca=not args.no_sca)
    for line in format_annotations(notes):
        print(line)
    if fault is not None:
        print(f"outpost pdu decode: {fault}", file=sys.stderr)
        return 1
    return 0


def _print_submits(args: argparse.Namespace) -> int:
    try:
        if args.text is None:
            raise UsageError("a TEXT is missing behind the NUMBER")
        parts = _submits({"dest": args.dest}, args.text)
    except BridgeError as error:
        print(f"outpost pdu encode: {error}", file=sys.stderr)
        return 2
    for part in parts:
        print(f"AT+CMGS={part.tpdu_length}\n{part.encode().hex().upper()}")
    for line in _advice(args.text):
        print(line, file=sys.stderr)
    return 0


def _advice(text: str) -> Iterator[str]:
    """How the text travels, and what would make it cheaper."""
    segments = segment(text)
    count = len(segments.parts)
    yield f"{segments.encoding}, {count} part(s), {segments.units} units, {segments.units_left} left"
    if segments.forced_by is not None:
        yield f"UCS-2 because of {segments.forced_by!r} (U+{ord(segments.forced_by):04X})"
        folded = fold_to_gsm7(text)
        if folded.fits:
            cheaper = len(segment(folded.text).parts)
            yield f"with plain characters it is gsm7, {cheaper} part(s): {folded.text}"
