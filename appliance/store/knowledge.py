"""The operator's knowledge: loading it from Markdown or CSV, finding an answer in it.

Search works on folded words written in Latin letters, so that Amharic spellings meet and the trigram index
has enough letters; what is found is then scored by how much of the question it covers.
"""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.conversation.asking import Fact
from appliance.conversation.matching import alike, keys
from appliance.conversation.text import words

__all__ = [
    "SAMPLE_KNOWLEDGE",
    "Entry",
    "KnowledgeErrors",
    "KnowledgePlan",
    "KnowledgeSearch",
    "bring",
    "entries",
    "import_folder",
    "learn",
    "read_file",
    "read_files",
    "read_folder",
    "remove",
]

SAMPLE_KNOWLEDGE: Final = Path(__file__).resolve().parents[2] / "config" / "knowledge"
SAMPLE: Final = "sample"  # where an entry comes from: the sample, the configured folder, an import, a person
FOLDER: Final = "folder"
IMPORT: Final = "import"
OPERATOR: Final = "operator"
LONGEST_ANSWER: Final = 2000  # characters: some 13 SMS, two at a time
LONGEST_QUESTION: Final = 300
ENOUGH: Final = 0.6  # share of the question's words that an answer's question must have
SURE: Final = 0.99  # mean cover both ways from which on there is nothing to ask a model
MOST_FACTS: Final = 8
FACT_CHARS: Final = 2400  # of all facts together; Ethiopic letters count three, as they cost tokens
_MOST_CANDIDATES: Final = 12
_HEADING: Final = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_LANGUAGE: Final = re.compile(r"^[a-z]{2,3}$")
_MARKS: Final = (
    (re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)[^)]*\)"), r"\1 \2"),  # a link: its words and where it leads
    (re.compile(r"(\*\*|__|`)(.+?)\1"), r"\2"),
    (re.compile(r"^\s*(?:[-*+]|>)\s+"), ""),
)


class KnowledgeErrors(Exception):
    """Files cannot be used. `lines`: one per mistake, with file and line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Entry(msgspec.Struct, frozen=True):
    """One question and its answer. source: 'sample', 'folder' or 'import' and the file, or 'operator'."""

    id: int
    language: str
    question: str
    answer: str
    source: str


class KnowledgePlan(msgspec.Struct):
    """Files read and checked. rows: (language, question, answer, file)."""

    rows: list[tuple[str, str, str, str]] = []

    @property
    def files(self) -> set[str]:
        return {name for _, _, _, name in self.rows}


def read_folder(folder: Path) -> KnowledgePlan:
    """Read LANGUAGE.csv (columns question, answer) and LANGUAGE.md (a heading is the question).

    A further word may follow the language: en.luggage.md. Raises KnowledgeErrors with every mistake, OSError.
    """
    return read_files([path for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".md")])


def read_files(paths: Sequence[Path]) -> KnowledgePlan:
    """The same for files wherever they lie."""
    return _read((path.name, path.read_bytes()) for path in paths)


def read_file(name: str, data: bytes) -> KnowledgePlan:
    """The same for one file, as it comes from a browser."""
    return _read([(name, data)])


def _read(files: Iterable[tuple[str, bytes]]) -> KnowledgePlan:
    plan, errors = KnowledgePlan([]), list[str]()
    seen: set[tuple[str, str]] = set()
    for name, data in files:
        language, suffix = name.split(".")[0], Path(name).suffix
        if not _LANGUAGE.match(language) or suffix not in (".csv", ".md"):
            errors.append(f"{name}: want a name such as en.csv or am.luggage.md, its language first")
            continue
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            errors.append(f"{name}: not UTF-8 at byte {error.start}")
            continue
        found = _csv(name, text, errors) if suffix == ".csv" else _markdown(name, text, errors)
        if not found and not errors:
            errors.append(f"{name}: no question with an answer is in it")
        for question, answer in found:
            if (language, question) in seen:
                errors.append(f"{name}: the question {question[:40]!r} stands twice")
            seen.add((language, question))
            plan.rows.append((language, question, answer, name))
    if errors:
        raise KnowledgeErrors(errors)
    return plan


def _csv(name: str, text: str, errors: list[str]) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"question", "answer"} <= set(reader.fieldnames or ()):
        errors.append(f"{name}: line 1: want the columns question,answer")
        return []
    found = []
    for row in reader:
        question, answer = (row["question"] or "").strip(), (row["answer"] or "").strip()
        if _fits(f"{name}: line {reader.line_num}", question, answer, errors):
            found.append((question, answer))
    return found


def _markdown(name: str, text: str, errors: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        heading = _HEADING.match(line)
        if heading is not None:
            found.append((number, heading[1].strip(), []))
        elif found and line.strip():
            for mark, plain in _MARKS:
                line = mark.sub(plain, line)
            found[-1][2].append(line.strip())
    # A heading without text below it only groups those that follow.
    asked = [(number, question, " ".join(answer)) for number, question, answer in found if answer]
    return [(q, a) for number, q, a in asked if _fits(f"{name}: line {number}", q, a, errors)]


def _fits(where: str, question: str, answer: str, errors: list[str]) -> bool:
    if not question or not answer:
        errors.append(f"{where}: a question or an answer is empty")
    elif len(question) > LONGEST_QUESTION or len(answer) > LONGEST_ANSWER:
        errors.append(
            f"{where}: too long; want a question of {LONGEST_QUESTION} characters at most and an answer of"
            f" {LONGEST_ANSWER}"
        )
    else:
        return True
    return False


def import_folder(db: sqlite3.Connection, folder: Path | None) -> int:
    """At the start: make the configured folder's files the knowledge; None: the sample, until something else
    was brought. What came by import or from a person stays. Returns how many entries there are.

    Raises KnowledgeErrors, OSError; then nothing has changed.
    """
    plan = read_folder(SAMPLE_KNOWLEDGE if folder is None else folder)
    for old in (SAMPLE, FOLDER):
        db.execute("DELETE FROM knowledge WHERE source = ? OR source LIKE ?", (old, f"{old}:%"))
    brought = db.execute("SELECT 1 FROM knowledge WHERE source LIKE ? LIMIT 1", (f"{IMPORT}:%",)).fetchone()
    if folder is not None or brought is None:
        _put(db, plan.rows, FOLDER if folder is not None else SAMPLE)
    return _tidy(db)


def bring(db: sqlite3.Connection, plan: KnowledgePlan, *, dry_run: bool = False) -> tuple[int, int, int]:
    """Bring files by command or page: each takes the place of what came from a file of its name before.

    The sample goes with the first. Returns (new or changed, gone, entries afterwards). An op of the writer.
    """
    before = {(e.language, e.question): e.answer for e in entries(db)}
    db.execute("SAVEPOINT knowledge")
    db.execute("DELETE FROM knowledge WHERE source LIKE ?", (f"{SAMPLE}:%",))
    for name in plan.files:
        db.execute("DELETE FROM knowledge WHERE source = ?", (f"{IMPORT}:{name}",))
    _put(db, plan.rows, IMPORT)
    count = _tidy(db)
    after = {(e.language, e.question): e.answer for e in entries(db)}
    if dry_run:
        db.execute("ROLLBACK TO knowledge")
    db.execute("RELEASE knowledge")
    changed = sum(before.get(key) != answer for key, answer in after.items())
    return changed, len(before.keys() - after.keys()), count


def learn(db: sqlite3.Connection, language: str, question: str, answer: str, source: str = OPERATOR) -> None:
    """Keep one answer; a person's own takes the place of a file's, never the other way round."""
    row = db.execute(
        "INSERT INTO knowledge (language, question, answer, source) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (language, question) DO UPDATE SET answer = excluded.answer, source = excluded.source"
        f" WHERE source <> '{OPERATOR}' OR excluded.source = '{OPERATOR}' RETURNING id",
        (language, question, answer, source),
    ).fetchone()
    if row is None:
        return
    db.execute("DELETE FROM knowledge_search WHERE rowid = ?", row)
    db.execute(
        "INSERT INTO knowledge_search (rowid, words) VALUES (?, ?)", (row[0], " ".join(keys(words(question))))
    )


def remove(db: sqlite3.Connection, entry_id: int) -> bool:
    """Take one entry out; a file's comes back with the file."""
    done = db.execute("DELETE FROM knowledge WHERE id = ?", (entry_id,)).rowcount
    _tidy(db)
    return done == 1


def entries(db: sqlite3.Connection) -> list[Entry]:
    """All there is, by language and question."""
    rows = db.execute(
        "SELECT id, language, question, answer, source FROM knowledge ORDER BY language, question"
    )
    return [Entry(*row) for row in rows]


def _put(db: sqlite3.Connection, rows: Sequence[tuple[str, str, str, str]], where: str) -> None:
    for language, question, answer, name in rows:
        learn(db, language, question, answer, f"{where}:{name}")


def _tidy(db: sqlite3.Connection) -> int:
    db.execute("DELETE FROM knowledge_search WHERE rowid NOT IN (SELECT id FROM knowledge)")
    return int(db.execute("SELECT count(*) FROM knowledge").fetchone()[0])


class KnowledgeSearch:
    """Finds answers, on a connection that only reads."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def best(self, heard: Sequence[str], language: str) -> tuple[str, bool] | None:
        """The answer whose question covers most of the words, and whether it is beyond doubt; None: none
        covers enough. heard: folded words."""
        asked = keys(heard)[:_MOST_CANDIDATES]
        found = [
            (_cover(asked, known.split()), answer) for _, answer, known in self._candidates(asked, language)
        ]
        score, text = max(found, key=lambda each: each[0], default=(0.0, ""))
        return (text, score >= SURE) if score else None

    def facts(self, heard: Sequence[str], language: str) -> list[Fact]:
        """What to give a model for these words: the nearest entries, then others while there is room."""
        asked = keys(heard)[: 2 * _MOST_CANDIDATES]
        near = [Fact(question, answer) for question, answer, _ in self._candidates(asked, language)]
        others = self._db.execute(
            "SELECT question, answer FROM knowledge WHERE language = ? ORDER BY id LIMIT ?",
            (language, MOST_FACTS),
        )
        facts: list[Fact] = []
        room = FACT_CHARS
        for fact in dict.fromkeys([*near, *(Fact(*row) for row in others)]):
            cost = sum(1 if char < "ሀ" else 3 for char in fact.question + fact.answer)
            if len(facts) < MOST_FACTS and cost <= room:
                facts.append(fact)
                room -= cost
        return facts

    def _candidates(self, asked: Sequence[str], language: str) -> list[tuple[str, str, str]]:
        """(question, answer, its keys) of what shares a word with these, the likeliest first."""
        if not asked:
            return []
        # Longer words are looked up by their beginning, so that endings and slips of the thumb do not matter.
        stems = {key[: max(3, len(key) - 2)] for key in asked}
        match = " OR ".join('"' + stem.replace('"', "") + '"' for stem in sorted(stems))
        rows: list[Any] = self._db.execute(
            "SELECT k.question, k.answer, s.words FROM knowledge_search s JOIN knowledge k ON k.id = s.rowid"
            " WHERE knowledge_search MATCH ? AND k.language = ? ORDER BY bm25(knowledge_search) LIMIT ?",
            (match, language, _MOST_CANDIDATES),
        ).fetchall()
        return rows


def _cover(asked: Sequence[str], known: Sequence[str]) -> float:
    """How much question and known question have in common: the mean of both shares, 0 if not enough."""
    hits = sum(any(alike(key, word) for word in known) for key in asked)
    back = sum(any(alike(key, word) for key in asked) for word in known)
    if hits < ENOUGH * len(asked):
        return 0.0
    return (hits / len(asked) + back / max(1, len(known))) / 2
