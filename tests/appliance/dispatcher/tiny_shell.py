"""A conversation small enough to test the dispatcher with: what to do is in the text itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from appliance.conversation.turn import Effect, Event, Reply, Session, Turn


class TinyShell:
    """Echoes, counts, and misbehaves when asked to. settings["marks"]: a folder that outlives workers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._leaked: list[bytearray] = []
        self._marks = Path(settings.get("marks", "/nonexistent"))

    def turn(self, session: Session, event: Event, looks: dict[str, Any]) -> Turn:
        word, _, rest = event.text.partition(" ")
        count = session.data.get("count", 0) + 1
        texts = session.data.get("texts", [])[-20:]
        after = Session(
            sender=event.sender,
            app="tiny",
            state="TALKING",
            language="am" if word == "amharic" else session.language,
            data={"count": count, "texts": [*texts, event.text]},
            expires_at_ms=event.now_ms + 900_000,
        )
        reply = f"{count}:{event.text}"
        effects = []
        if event.kind == "effect":
            reply = f"refused:{event.reason}:{event.detail.get('left')}:{event.attempt}"
            effects = [Effect(name="tiny.refuse")] if word == "stubborn" else []
        elif event.kind == "timer":
            reply = "woken"
        elif word == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "exit":
            os._exit(3)
        elif word == "raise":
            raise RuntimeError("a secret: " + event.text)
        elif word == "hang":
            time.sleep(60)
        elif word == "leak":  # megabytes that stay
            self._leaked.append(bytearray(os.urandom(1024)) * 1024 * int(rest))
        elif word == "balloon":  # a turn that takes all the memory there is
            while True:
                self._leaked.append(bytearray(os.urandom(1024)) * 1024 * 4)
                time.sleep(0.01)
        elif word == "nap":
            time.sleep(float(rest))
        elif word == "once":  # misbehaves the first time only
            mark = self._marks / f"once-{event.message_id}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif word == "modules":
            reply = " ".join(sorted({name.partition(".")[0] for name in sys.modules}))
        elif word in ("refuse", "stubborn"):
            effects = [Effect(name="tiny.refuse")]
        elif word == "unknown":
            effects = [Effect(name="tiny.nobody")]
        elif word == "insert":
            effects = [Effect(name="tiny.insert", args={"text": rest})]
        elif word == "wake":
            after.wake_at_ms = event.now_ms + int(rest)
        elif word == "silent":
            return Turn(session=after)
        elif word == "pid":
            reply = str(os.getpid())
        return Turn(session=after, replies=[Reply(text=reply)], effects=effects)


def broken(settings: dict[str, Any]) -> TinyShell:
    """A factory that fails, as a faulty plugin would."""
    raise RuntimeError("no shell today")
