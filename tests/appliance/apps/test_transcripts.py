"""Golden transcripts: what people will read, word by word.

`UPDATE_TRANSCRIPTS=1 pytest tests/appliance/apps/test_transcripts.py` writes them anew; read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.trial import SETTINGS, Trial, play

FOLDER = Path(__file__).parent / "transcripts"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_transcript_played_again_reads_the_same(
    name: str, make_trial: Callable[..., Trial], people: dict[str, str]
) -> None:
    path = FOLDER / f"{name}.txt"
    apps = ["booking", "chat", "assistant"] if name.endswith(("_chat", "_assistant")) else ["booking"]
    settings = {**SETTINGS, "conversation": {"apps": apps}}
    if name.endswith("_names"):
        settings["booking"] = {"hold_minutes": 30, "ask_names": True}
    trial = make_trial(settings)
    wanted = path.read_text(encoding="utf-8")
    played = "\n".join(play(wanted.splitlines(), trial, people)) + "\n"
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        path.write_text(played, encoding="utf-8")
    else:
        assert played == wanted
