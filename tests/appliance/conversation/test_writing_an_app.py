"""The app in docs/writing-an-app.md works as it stands there, in under 60 lines."""

from __future__ import annotations

import re
import shutil
import types
from pathlib import Path

from appliance.conversation.kit import Kit
from appliance.conversation.phrases import DEFAULT_FOLDER
from appliance.conversation.shell import Shell
from appliance.trial import Trial, play, read_time

PAGE = Path(__file__).parents[3] / "docs" / "writing-an-app.md"
NOW = "2026-11-22 09:00"


def block(language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def test_app_of_the_page_is_short() -> None:
    assert len(block("python").splitlines()) < 60


def test_app_of_the_page_speaks_as_the_page_says(tmp_path: Path) -> None:
    phrases = tmp_path / "phrases"
    shutil.copytree(DEFAULT_FOLDER, phrases)
    english = phrases / "en.toml"
    english.write_text(english.read_text(encoding="utf-8") + block("toml"), encoding="utf-8")
    module = types.ModuleType("appliance.apps.remind")
    exec(compile(block("python"), str(PAGE), "exec"), module.__dict__)
    settings = {"phrases_dir": str(phrases), "conversation": {"apps": ["booking"]}}
    trial = Trial(settings, now_ms=read_time(NOW))
    kit = Kit(settings)
    trial.shell = Shell(settings, {**trial.shell.apps, "remind": module.make_app(kit)})
    transcript = block("text")
    played = "\n".join(play(transcript.splitlines(), trial, {"abebe": "+251911111111"})) + "\n"
    trial.close()
    assert played == transcript
