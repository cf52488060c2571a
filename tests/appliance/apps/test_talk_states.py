"""The chat's and the assistant's tables, and the pages that draw them."""

from __future__ import annotations

from pathlib import Path

from appliance.apps.assistant import states as assistant
from appliance.apps.chat import states as chat

DOCS = Path(__file__).parents[3] / "docs"


def test_page_of_the_chat_draws_the_table_of_today() -> None:
    page = (DOCS / "chat.md").read_text()
    drawn = {f"    {state} --> {target}: {step}" for (state, step), target in chat.TRANSITIONS.items()}
    diagram = page.partition("```mermaid")[2].partition("```")[0]
    shown = {line for line in diagram.splitlines() if "-->" in line and "[*]" not in line}
    assert shown == drawn


def test_every_state_of_the_chat_can_be_left() -> None:
    assert {state for state, _ in chat.TRANSITIONS} == set(chat.State)


def test_assistant_that_is_asked_something_is_never_idle() -> None:
    for (_, step), target in assistant.TRANSITIONS.items():
        if step is assistant.Step.THOUGHT:
            assert target is assistant.State.THINKING
    assert assistant.move("a state of another version", assistant.Step.ANSWERED) is assistant.State.ASKING
