"""How one family of modems differs from the book: data read from personalities/*.toml, no subclasses."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

__all__ = ["Banner", "Chatter", "Personality", "load_personality", "personality_names"]

_FOLDER: Final = files("firmware_bridge.simulator").joinpath("personalities")


class Banner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line that the modem says by itself `after_s` seconds after power-up."""

    text: str
    after_s: float = 0.0


class Chatter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line said again and again. until: the command whose first use ends it, e.g. "+CPMS?" or "^CURC=0"."""

    text: str
    every_s: float
    until: str | None = None


class Personality(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One family. origin: where the traits were seen. Times are seconds after power-up.

    storages: name to number of slots. cpms_test: what AT+CPMS=? prints after the colon; None: as the book.
    third_memory: what <mem3> may be; () refuses a third memory. cnmi: the values accepted for each of
    the five parameters. fixed: whole answers by command ("+CGMR" or "+CPMS=?"): a list of lines before OK.
    refused: commands that end with `unknown_answer`; hanging: commands that never end.
    empty_slot: +CMGR of an empty slot gives "error" (321) or "ok" (a bare OK).
    ussd_packed: USSD goes as packed 7-bit hex. cds_index: +CDSI always names this index and "SM" (EC25,
    reported). line_end: what ends each line.
    """

    name: str
    origin: str
    manufacturer: str = "Outpost"
    model: str = "Simulated modem"
    revision: str = "1.0"
    echo: bool = True
    sim_ready_s: float = 0.0
    sms_ready_s: float = 0.0
    registered_s: float = 0.0
    sca_busy_after_pin_s: float = 0.0
    banner: tuple[Banner, ...] = ()
    chatter: tuple[Chatter, ...] = ()
    storages: dict[str, int] = msgspec.field(default_factory=lambda: {"SM": 50, "ME": 255, "SR": 20})
    default_memory: str = "SM"
    index_base: int = 1
    cpms_test: str | None = None
    third_memory: tuple[str, ...] = ("SM", "ME", "MT")
    cnmi_test: str | None = None
    cnmi: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2), (0, 1))
    prompt: str = "\r\n> "
    prompt_delay_s: float = 0.0
    line_end: str = "\r\n"
    colon: str = ": "
    cmee_text_always: bool = False
    empty_slot: str = "error"
    cpin_without_ok: bool = False
    cds_index: int | None = None
    deletes_whole_group: bool = False
    csmp_clears_smsc: bool = False
    ussd_packed: bool = False
    full_notice: str | None = None
    iccid_commands: tuple[str, ...] = ("+CCID",)
    iccid_quoted: bool = True
    iccid_filler: bool = False
    unknown_answer: str = "ERROR"
    refused: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()
    fixed: dict[str, tuple[str, ...]] = {}


@cache
def load_personality(name: str) -> Personality:
    """Read one family's file. Raises ValueError that names the file and what is wrong, or what there is."""
    if name not in personality_names():
        raise ValueError(f"no modem personality {name!r}; there are: {', '.join(personality_names())}")
    path = _FOLDER.joinpath(f"{name}.toml")
    values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return msgspec.convert({"name": name, **values}, Personality)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}.toml: {error}") from error


@cache
def personality_names() -> tuple[str, ...]:
    """All families there are data for."""
    return tuple(sorted(p.name.removesuffix(".toml") for p in _FOLDER.iterdir() if p.name.endswith(".toml")))
