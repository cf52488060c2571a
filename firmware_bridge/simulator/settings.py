"""What a modem forgets when it restarts: the volatile settings of V.250, TS 27.005 and TS 27.007."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Cnmi", "Csmp", "Settings"]


@dataclass(slots=True)
class Cnmi:
    """AT+CNMI=<mode>,<mt>,<bm>,<ds>,<bfr> (TS 27.005 3.4.1)."""

    mode: int = 0
    mt: int = 0
    bm: int = 0
    ds: int = 0
    bfr: int = 0

    def values(self) -> tuple[int, int, int, int, int]:
        """The five numbers in the order of the command."""
        return (self.mode, self.mt, self.bm, self.ds, self.bfr)


@dataclass(slots=True)
class Csmp:
    """AT+CSMP=<fo>,<vp>,<pid>,<dcs>: what text mode puts into a SUBMIT (TS 27.005 3.1)."""

    fo: int = 17
    vp: int = 167
    pid: int = 0
    dcs: int = 0


@dataclass(slots=True)
class Settings:
    """Values after power-up or AT&F; the echo and the memories come from the personality."""

    echo: bool = True
    verbose: bool = True
    quiet: bool = False
    cmee: int = 0
    cmgf: int = 0
    csms: int = 0
    cmms: int = 0
    csdh: int = 0
    cusd: int = 0
    ctzu: int = 0
    ctzr: int = 0
    cops_format: int = 0
    cscs: str = "IRA"
    memories: list[str] = field(default_factory=lambda: ["SM", "SM", "SM"])
    cnmi: Cnmi = field(default_factory=Cnmi)
    csmp: Csmp = field(default_factory=Csmp)
    # <n> of +CREG, +CGREG and +CEREG: which registration changes are told
    registration: dict[str, int] = field(default_factory=lambda: {"+CREG": 0, "+CGREG": 0, "+CEREG": 0})
