"""What one modem family does otherwise: data in config/modems/*.toml, never code.

A profile may only tune what start-up tries first, how patient it is, and which vendor commands calm the line;
everything in it is optional, and a modem that no profile matches runs on the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT", "PROFILE_DIRECTORY", "Profile"]

PROFILE_DIRECTORY = Path(__file__).resolve().parent.parent / "config" / "modems"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """name: file name without its ending. match: (what, pattern) pairs, all of which must be found.

    quiet: commands after identification, refusals ignored. memories: order of choice for the store.
    notify: +CNMI settings to try first. csms: service to ask for, None: leave as it is.
    pause_ms: between a final result and the next command. send_timeout_s: from Ctrl-Z to the final result.
    iccid: commands to try. skip: command names never to be sent.
    """

    name: str = "default"
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
    iccid_swapped: bool = False
    ussd: str = "plain"
    skip: tuple[str, ...] = ()


DEFAULT = Profile()
