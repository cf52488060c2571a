"""`outpost try APP`: talk to one conversation in the terminal, without modem, database or network.

With `--json` it reads one text a line and answers each on a line, for programs that test conversations.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from appliance.conversation.apps import available
from appliance.conversation.budget import segments
from appliance.conversation.phrases import PhraseErrors, load
from appliance.conversation.turn import Reply
from appliance.exits import Exit
from appliance.message import normalise_number
from appliance.trial import AGENT, Trial, TrialError, play, read_time

__all__ = ["answer_lines", "configure", "run"]

ME: Final = "+251911223344"
_FIRST_NAME: Final = re.compile(r"([a-z]+) [<>] ")
HELP: Final = """\
Type what a person would text. /from NUMBER is another person, /agent the agent who takes the money,
/wait 31m lets time pass, /at 2026-11-22 09:00 sets the clock, /save FILE keeps the talk as a transcript
(tests/appliance/apps/transcripts has examples), /quit or Ctrl-D ends."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", metavar="APP", help="the conversation, such as booking")
    parser.add_argument(
        "--json", action="store_true", help='read {"id","from","text","at"} lines, write JSON'
    )
    parser.add_argument(
        "--play", metavar="FILE", type=Path, help="play a transcript and show how it goes now"
    )
    parser.add_argument(
        "--languages", metavar="CODES", help="languages that answer, such as en,am (default: all)"
    )


def run(args: argparse.Namespace) -> int:
    if args.app not in available():
        known = ", ".join(available())
        print(f"outpost try: no conversation is called {args.app!r}; there are: {known}", file=sys.stderr)
        return int(Exit.USAGE)
    try:
        spoken = args.languages.split(",") if args.languages else _all_languages()
        settings = {
            "conversation": {"default_app": args.app, "apps": [args.app], "languages": spoken},
            "payments": {"agents": [AGENT]},
        }
        trial = Trial(settings, now_ms=int(time.time() * 1000))
    except PhraseErrors as errors:
        print(*errors.lines, sep="\n", file=sys.stderr)
        return int(Exit.FAILED)
    if args.json:
        for line in answer_lines(sys.stdin, trial):
            print(line, flush=True)
        return 0
    if args.play is not None:
        return _play(args.play, trial)
    return _Terminal(trial, sys.stdin, sys.stdout).talk()


def _all_languages() -> list[str]:
    languages = load(spoken=["en"]).languages
    return sorted(languages, key=lambda code: (code != "en", code))


def answer_lines(lines: Iterable[str], trial: Trial) -> Iterator[str]:
    """Answer JSON lines {"id", "from", "text", "at"} with {"id", "replies", "state", "understood"}.

    `at` is ISO time and may be left out (the clock stays) or go back (nothing is undone). A line that cannot
    be read is answered with {"id", "error"}; the next one is not affected.
    """
    for line in lines:
        if not line.strip():
            continue
        key: Any = None
        try:
            given = json.loads(line)
            if not isinstance(given, dict):
                raise ValueError("want an object with id, from, text and at")
            key = given.get("id")
            answer = _answer(given, trial)
        except (ValueError, TypeError, TrialError) as error:
            answer = {"error": str(error)}
        yield json.dumps({"id": key, **answer}, ensure_ascii=False)


def _answer(given: dict[str, Any], trial: Trial) -> dict[str, Any]:
    text = given.get("text")
    if not isinstance(text, str):
        raise ValueError("text: want a string")
    sender = _number(str(given.get("from") or ME))
    timers: list[tuple[str, Reply]] = []
    if given.get("at") is not None:
        at_ms = read_time(str(given["at"]), trial.shell.kit.timezone_minutes)
        timers = trial.pass_time(at_ms)
        trial.now_ms = at_ms
    replies = trial.text(sender, text)
    assert trial.last is not None
    return {
        "replies": [_reply(reply, sender) for reply in replies],
        "state": trial.sessions[sender].state,
        "understood": trial.last.understood,
        **({"timers": [{**_reply(r, to), "to": to} for to, r in timers]} if timers else {}),
    }


def _number(name: str) -> str:
    """A number for whoever texts: their own, or one made of a name, the same each time."""
    number = normalise_number(name)
    return number or f"+2519{zlib.crc32(name.encode()) % 100_000_000:08}"


def _reply(reply: Reply, sender: str) -> dict[str, Any]:
    other = {"to": reply.to} if reply.to not in (None, sender) else {}
    return {"text": reply.text, "segments": segments(reply.text), **other}


def _people(lines: Iterable[str]) -> dict[str, str]:
    """A number for each first name (`abebe`) of a transcript: only numbers are answered."""
    names = dict.fromkeys(found[1] for line in lines if (found := _FIRST_NAME.match(line)))
    return {name: f"+2519111111{10 + place}" for place, name in enumerate(names)} | {"agent": AGENT}


def _play(path: Path, trial: Trial) -> int:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in play(lines, trial, _people(lines)):
            print(line)
    except (OSError, UnicodeDecodeError, TrialError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return int(Exit.FAILED)
    return 0


@dataclasses.dataclass
class _Terminal:
    trial: Trial
    source: TextIO
    out: TextIO
    sender: str = ME

    def __post_init__(self) -> None:
        self.transcript: list[str] = []

    def talk(self) -> int:
        self._tell(HELP)
        while True:
            self.out.write("> ")
            self.out.flush()
            line = self.source.readline()
            if not line:
                self._tell("")
                return 0
            text = line.rstrip("\n")
            if text in ("/quit", "/exit"):
                return 0
            try:
                self._do(text)
            except (ValueError, OSError, TrialError) as error:
                self._tell(f"! {error}")

    def _tell(self, text: str) -> None:
        self.out.write(text + "\n")

    def _do(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if not text.strip():
            return
        if word == "/from":
            self.sender = _number(rest.strip() or ME)
        elif word == "/agent":
            self.sender = AGENT
        elif word == "/save":
            Path(rest.strip()).write_text("\n".join(self.transcript) + "\n", encoding="utf-8")
            self._tell(f"saved {len(self.transcript)} lines")
        elif word in ("/wait", "/at"):
            self._lines([f"{word[1:]} {rest}"])
        elif word == "/help" or word.startswith("/"):
            self._tell(HELP)
        else:
            self._lines([f"{self.sender} > {text}"])

    def _lines(self, lines: list[str]) -> None:
        for said in play(lines, self.trial, {}):
            self.transcript.append(said)
            who, arrow, text = said.partition(" < ")
            if arrow:
                to = "" if who == self.sender else f"(to {who}) "
                count = segments(text.replace("\n  ", "\n"))
                self._tell(f"  {to}{text}   [{count} SMS]")
