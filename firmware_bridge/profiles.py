"""What one modem family does otherwise: data in config/modems/*.toml, never code.

A profile may only tune what start-up tries first, how patient it is, and which vendor commands calm the line;
everything in it is optional, and a modem that no profile matches runs on the defaults.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from firmware_bridge.at.command import AtCommand
from firmware_bridge.errors import BridgeError, UsageError

__all__ = [
    "DEFAULT",
    "PROFILE_DIRECTORY",
    "Profile",
    "ProfileError",
    "choose",
    "load_profile",
    "load_profiles",
]

PROFILE_DIRECTORY: Final = Path(__file__).resolve().parent.parent / "config" / "modems"

# A vendor command in a profile may set and ask; it may not send, delete, dial, or touch the SIM's codes.
_QUIET: Final = re.compile(
    r"AT(?:[\^#$*%&][A-Z0-9]+|\+(?:Q|Z|C(?:REG|GREG|EREG|FUN|URC|TZR|TZU|NMI|SMP|SCS|MEE|LIP|IND|MER))[A-Z]*|&[A-Z])"
    r"(?:[=?][A-Za-z0-9\",=?. -]*)?\Z"
)


class ProfileError(BridgeError):
    """A profile file says what it may not: one line with file, key and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """name: file name without its ending. family: for people. origin: where what it says was seen.

    match: manufacturer, model or firmware -> regular expression, all of which must be found, case ignored.
    quiet: commands after identification, refusals ignored. memories: order of choice for the store.
    notify: +CNMI settings to try first. csms: service to ask for, None: leave as it is.
    pause_ms: between a final result and the next command. send_timeout_s: from Ctrl-Z to the final result.
    sim_patience_s: how long settings may be refused after power-up. iccid: commands to try, in order.
    ussd_packed: USSD wants and gives packed 7-bit hex. skip: command names never to be sent.
    rtscts: hardware flow control. notes: what a technician should know.
    """

    name: str = "default"
    family: str = ""
    origin: str = ""
    match: tuple[tuple[str, str], ...] = ()
    quiet: tuple[str, ...] = ()
    memories: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    csms: int | None = 1
    pause_ms: int = 0
    send_timeout_s: float = 60.0
    prompt_timeout_s: float = 10.0
    sim_patience_s: float = 30.0
    iccid: tuple[str, ...] = ("AT+CCID", "AT^ICCID?", "AT+ICCID", "AT+QCCID", "AT+ZGETICCID")
    ussd_packed: bool = False
    skip: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def matches(self, identity: Mapping[str, str]) -> int:
        """How many of its patterns are found in `identity`; 0 unless all are."""
        if not self.match:
            return 0
        if all(re.search(pattern, identity.get(what, ""), re.IGNORECASE) for what, pattern in self.match):
            return len(self.match)
        return 0


DEFAULT: Final = Profile()

_WHAT: Final = ("manufacturer", "model", "firmware")
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "pause_ms": (0, 1000),
    "send_timeout_s": (5, 300),
    "prompt_timeout_s": (1, 60),
    "sim_patience_s": (0, 300),
}
_TEXT_LISTS: Final = ("quiet", "memories", "notify", "iccid", "skip", "notes")


def load_profile(path: Path) -> Profile:
    """Read one file. Raises ProfileError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ProfileError(f"{path.name}: {e}") from e
    allowed = {f.name for f in dataclasses.fields(Profile)} - {"name"}
    fields: dict[str, Any] = {"name": path.stem}
    for key, value in data.items():
        if key not in allowed:
            raise ProfileError(f"{path.name}: {key}: unknown; want one of {', '.join(sorted(allowed))}")
        fields[key] = _checked(path.name, key, value)
    for needed in ("family", "origin", "match"):
        if not fields.get(needed):
            raise ProfileError(f"{path.name}: {needed}: missing")
    return Profile(**fields)


def _checked(file: str, key: str, value: Any) -> Any:
    def wrong(want: str) -> ProfileError:
        return ProfileError(f"{file}: {key}: {value!r}; want {want}")

    if key == "match":
        if not isinstance(value, dict) or not set(value) <= set(_WHAT):
            raise wrong(f"a table of {', '.join(_WHAT)}")
        for pattern in value.values():
            try:
                re.compile(pattern)
            except (re.error, TypeError) as e:
                raise wrong("regular expressions") from e
        return tuple(sorted(value.items()))
    if key in _TEXT_LISTS:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise wrong("a list of texts")
        if key == "quiet" and not all(_QUIET.match(v) for v in value):
            raise wrong("vendor settings and questions only")
        if key == "iccid" and not all(re.fullmatch(r"AT[\^+#][A-Z]+\??", v) for v in value):
            raise wrong("questions")
        if key == "notify" and not all(re.fullmatch(r"\d(,\d){0,4}", v) for v in value):
            raise wrong("up to five digits")
        if key == "memories" and not all(re.fullmatch(r"[A-Z]{2}(_P)?", v) for v in value):
            raise wrong("names such as SM")
        if key in ("quiet", "iccid"):
            for text in value:
                AtCommand(text)
        return tuple(value)
    if key in _NUMBERS:
        low, high = _NUMBERS[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise wrong(f"{low} to {high}")
        return value
    if key == "csms":
        if value not in (0, 1, "leave"):
            raise wrong('0, 1 or "leave"')
        return None if value == "leave" else value
    if key == "ussd_packed":
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if not isinstance(value, str):
        raise wrong("a text")
    return value


@cache
def load_profiles(directory: Path = PROFILE_DIRECTORY) -> tuple[Profile, ...]:
    """All profiles of a folder, by name. Raises ProfileError for the first that is wrong."""
    return tuple(load_profile(path) for path in sorted(directory.glob("*.toml")))


def choose(wanted: str | None, identity: Mapping[str, str], profiles: Sequence[Profile]) -> Profile:
    """The profile called `wanted`, or with "auto" or None the one that matches most of the identity, else
    DEFAULT.

    Raises UsageError if there is none of that name.
    """
    if wanted not in (None, "", "auto", "default"):
        for profile in profiles:
            if profile.name == wanted:
                return profile
        raise UsageError(f"no modem profile {wanted!r}; there are {', '.join(p.name for p in profiles)}")
    if wanted == "default":
        return DEFAULT
    best = max(profiles, key=lambda p: p.matches(identity), default=DEFAULT)
    return best if best.matches(identity) else DEFAULT
