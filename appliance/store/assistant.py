"""The assistant's stored side: the questions that a person answers, and what the conversation may see."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from appliance.conversation.asking import Asked, Fact, Known
from appliance.conversation.masking import Masker
from appliance.conversation.wordlists import load_words
from appliance.message import Lane, Outbound
from appliance.store import asking, outbound
from appliance.store.booking import names_of
from appliance.store.effects import EffectContext, effect
from appliance.store.knowledge import KnowledgeSearch, learn
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = ["AssistantLook", "answer_question", "open_questions"]

PERSONAL_DIGITS: Final = 5  # a figure of so many is somebody's number or code, not a price


@effect("assistant.ask")
def ask(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """Nobody knew: the sender's question waits for a person. args: words, language."""
    db.execute(
        "INSERT INTO question (asker, language, words, asked_ms) VALUES (?, ?, ?, ?)",
        (ctx.sender, args["language"], args["words"], ctx.now_ms),
    )


def open_questions(db: sqlite3.Connection, limit: int = 100) -> list[tuple[int, str, str, str, int]]:
    """What waits for an answer, oldest first: id, asker, language, words, asked_ms."""
    return db.execute(
        "SELECT id, asker, language, words, asked_ms FROM question WHERE answer IS NULL ORDER BY id LIMIT ?",
        (limit,),
    ).fetchall()


def answer_question(
    db: sqlite3.Connection, question_id: int, text: str, by: str, now_ms: int, *, keep: bool = False
) -> QueuedRow | None:
    """A person answers: an op of the writer. The answer goes out as SMS, once; None: it was answered before.

    keep: the question and its answer also become knowledge, which an import does not take away.
    """
    row = db.execute(
        "UPDATE question SET answer = ?, answered_by = ?, answered_ms = ? WHERE id = ? AND answer IS NULL"
        " RETURNING asker, language, words",
        (text, by, now_ms, question_id),
    ).fetchone()
    if row is None:
        return None
    asker, language, asked = row
    if keep:
        # What is kept is given to others and to a model: no number or address of the asker stays in it.
        plain = Masker(load_words()).hide(asked, number="", link="", enough=PERSONAL_DIGITS)
        learn(db, language, " ".join(plain.split()), text)
    message = Outbound(recipient=asker, text=text, lane=Lane.REPLY)
    queued = outbound.insert(db, message, now_ms)
    return QueuedRow(queued, asker, QueueKey(message.route, str(message.lane), message.client_id))


class AssistantLook:
    """What the assistant may see, on a connection that only reads."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._knowledge = KnowledgeSearch(db)

    def best(self, heard: Sequence[str], language: str) -> tuple[str, bool] | None:
        """The knowledge base's answer to folded words, and whether it is beyond doubt."""
        return self._knowledge.best(heard, language)

    def facts(self, heard: Sequence[str], language: str) -> list[Fact]:
        """What a model is given to answer these words from."""
        return self._knowledge.facts(heard, language)

    def asked(self, number: str, asking_id: int) -> Asked | None:
        """A question of this person that the model was asked; None: there is none of that id."""
        return asking.asked(self._db, number, asking_id)

    def known(self, number: str) -> Known:
        """What the box knows of a person that no model may see."""
        contacts = self._db.execute("SELECT name FROM contact WHERE number = ? AND name <> ''", (number,))
        names = (*(name for (name,) in contacts), *names_of(self._db, number))
        codes = self._db.execute(
            "SELECT code FROM booking WHERE holder = ? ORDER BY id DESC LIMIT 20", (number,)
        )
        return Known(names, tuple(code for (code,) in codes))
