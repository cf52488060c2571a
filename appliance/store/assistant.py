"""The operator's knowledge: loading it, finding an answer in it, and the questions that a person answers.

Search works on folded words written in Latin letters, so that Amharic spellings meet and the trigram index
has enough letters; what is found is then scored by how much of the question it covers.
"""

from __future__ import annotations

import csv
import re
import sqlite3
from pathlib import Path
from typing import Any, Final

from appliance.conversation.text import latin, words
from appliance.message import Lane, Outbound
from appliance.store import outbound
from appliance.store.effects import EffectContext, effect
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = [
    "SAMPLE_KNOWLEDGE",
    "AssistantLook",
    "KnowledgeErrors",
    "answer_question",
    "import_knowledge",
    "open_questions",
]

SAMPLE_KNOWLEDGE: Final = Path(__file__).resolve().parents[2] / "config" / "knowledge"
ENOUGH: Final = 0.6  # share of the question's words that an answer's question must have
_MOST_CANDIDATES: Final = 12
_COMMON: Final = frozenset(  # as `latin(fold(word))` writes them
    "the is are you your does did can could will would for and how what when where which who have has get"
    " with from that this there please tel about want ned should must much many take bring some any new wey"
    " ale lay ena lene snt seat endet yet mn yhla ychalal lefelg efelgalehu".split()
)
_HEADING: Final = re.compile(r"^#{1,6}\s+(.*)$")


class KnowledgeErrors(Exception):
    """Files cannot be used. `lines`: one per mistake, with file and line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _keys(text: list[str]) -> list[str]:
    """The words that count, in Latin letters."""
    return [key for key in (latin(word) for word in text) if len(key) >= 3 and key not in _COMMON]


def import_knowledge(db: sqlite3.Connection, folder: Path) -> int:
    """Make a folder's files the knowledge in force: LANGUAGE.csv (question, answer) and LANGUAGE.md.

    In Markdown a heading is the question, what follows it the answer. Returns how many answers there are.
    Raises KnowledgeErrors with every mistake; then nothing has changed.
    """
    rows: list[tuple[str, str, str, str]] = []
    errors: list[str] = []
    for path in sorted(folder.iterdir()):
        language = path.name.split(".")[0]
        if path.suffix == ".csv":
            rows += [(language, q, a, path.name) for q, a in _csv(path, errors)]
        elif path.suffix == ".md":
            rows += [(language, q, a, path.name) for q, a in _markdown(path)]
    seen: set[tuple[str, str]] = set()
    for language, question, _, name in rows:
        if (language, question) in seen:
            errors.append(f"{name}: the question {question[:40]!r} stands twice")
        seen.add((language, question))
    if errors:
        raise KnowledgeErrors(errors)
    db.execute("DELETE FROM knowledge WHERE source <> 'operator'")
    db.execute("DELETE FROM knowledge_search WHERE rowid NOT IN (SELECT id FROM knowledge)")
    for row in rows:
        _learn(db, *row)
    (count,) = db.execute("SELECT count(*) FROM knowledge").fetchone()
    return int(count)


def _learn(db: sqlite3.Connection, language: str, question: str, answer: str, source: str) -> None:
    row = db.execute(
        "INSERT INTO knowledge (language, question, answer, source) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (language, question) DO UPDATE SET answer = excluded.answer RETURNING id",
        (language, question, answer, source),
    ).fetchone()
    db.execute("DELETE FROM knowledge_search WHERE rowid = ?", row)
    db.execute(
        "INSERT INTO knowledge_search (rowid, words) VALUES (?, ?)",
        (row[0], " ".join(_keys(words(question)))),
    )


def _csv(path: Path, errors: list[str]) -> list[tuple[str, str]]:
    found = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"question", "answer"} <= set(reader.fieldnames or ()):
            errors.append(f"{path.name}: line 1: want the columns question,answer")
            return []
        for row in reader:
            question, answer = (row["question"] or "").strip(), (row["answer"] or "").strip()
            if not question or not answer:
                errors.append(f"{path.name}: line {reader.line_num}: a question or an answer is empty")
                continue
            found.append((question, answer))
    return found


def _markdown(path: Path) -> list[tuple[str, str]]:
    found: list[tuple[str, list[str]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        heading = _HEADING.match(line)
        if heading is not None:
            found.append((heading[1].strip(), []))
        elif found and line.strip():
            found[-1][1].append(line.strip())
    return [(question, " ".join(answer)) for question, answer in found if answer]


class AssistantLook:
    """What the assistant may see, on a connection that only reads."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def answer(self, words: list[str], language: str) -> str | None:
        """The answer whose question covers most of the words; None: none covers enough."""
        keys = _keys(words)[:_MOST_CANDIDATES]
        if not keys:
            return None
        # Longer words are looked up by their beginning, so that endings and slips of the thumb do not matter.
        stems = {key[: max(3, len(key) - 2)] for key in keys}
        match = " OR ".join('"' + stem.replace('"', "") + '"' for stem in sorted(stems))
        rows = self._db.execute(
            "SELECT k.answer, s.words FROM knowledge_search s JOIN knowledge k ON k.id = s.rowid"
            " WHERE knowledge_search MATCH ? AND k.language = ? ORDER BY bm25(knowledge_search) LIMIT ?",
            (match, language, _MOST_CANDIDATES),
        ).fetchall()
        scored = [(_cover(keys, known.split()), answer) for answer, known in rows]
        best = max(scored, key=lambda found: found[0], default=(0.0, None))
        return best[1] if best[0] else None


def _cover(keys: list[str], known: list[str]) -> float:
    """How much question and known question have in common: the mean of both shares, 0 if not enough."""
    hits = sum(any(_alike(key, word) for word in known) for key in keys)
    back = sum(any(_alike(key, word) for key in keys) for word in known)
    if hits < ENOUGH * len(keys):
        return 0.0
    return (hits / len(keys) + back / max(1, len(known))) / 2


def _alike(one: str, other: str) -> bool:
    length = min(len(one), len(other))
    shared = next((n for n in range(length) if one[n] != other[n]), length)
    return shared >= 3 and shared >= max(len(one), len(other)) - 3


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
    db: sqlite3.Connection, question_id: int, text: str, by: str, now_ms: int, *, learn: bool = False
) -> QueuedRow | None:
    """A person answers: an op of the writer. The answer goes out as SMS, once; None: it was answered before.

    learn: the question and its answer also become knowledge, which an import does not take away.
    """
    row = db.execute(
        "UPDATE question SET answer = ?, answered_by = ?, answered_ms = ? WHERE id = ? AND answer IS NULL"
        " RETURNING asker, language, words",
        (text, by, now_ms, question_id),
    ).fetchone()
    if row is None:
        return None
    asker, language, asked = row
    if learn:
        _learn(db, language, asked, text, "operator")
    message = Outbound(recipient=asker, text=text, lane=Lane.REPLY)
    queued = outbound.insert(db, message, now_ms)
    return QueuedRow(queued, asker, QueueKey(message.route, str(message.lane), message.client_id))
