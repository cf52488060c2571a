"""Which client a text that came in is for.

Asked in the transaction that accepts the text, after the guards. A person's STOP and START are never a
client's. Otherwise the first of these that fits decides: the longest keyword on the number texted, that
number itself, the longest keyword on any number, and that the text answers a client's message.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from appliance.conversation.text import words
from appliance.message import Inbound
from appliance.store import client_inbound as ops
from appliance.store.client_inbound import Rule
from appliance.store.inbound import Judge, Verdict

__all__ = ["LONGEST_KEYWORD", "ClientInbound", "folded_keyword"]

LONGEST_KEYWORD: Final = 4  # words


def folded_keyword(keyword: str) -> str:
    """A keyword as texts are compared with it; ValueError when nothing is left of it, or too much."""
    found = words(keyword)
    if not 1 <= len(found) <= LONGEST_KEYWORD or len(keyword) > 40:
        raise ValueError(f"keyword: want 1 to {LONGEST_KEYWORD} words of letters or digits")
    return " ".join(found)


class _Book:
    """The rules in the order in which they are asked."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.numbers: dict[str, dict[str, Rule]] = {}
        self.replies = {rule.client_id: rule for rule in rules if rule.replies}
        for rule in rules:
            if not rule.replies:
                self.numbers.setdefault(rule.number, {})[rule.folded] = rule

    def by_words(self, number: str, heard: Sequence[str]) -> Rule | None:
        """The longest keyword on that number that the text begins with; "" is the number's own rule."""
        known = self.numbers.get(number)
        if not known:
            return None
        for count in range(min(LONGEST_KEYWORD, len(heard)), -1, -1):
            rule = known.get(" ".join(heard[:count]))
            if rule is not None:
                return rule
        return None


class ClientInbound:
    """Called by the writer. opts: whether a text is a STOP- or START-class word.

    `forget` must be called after rules changed.
    """

    def __init__(self, opts: Callable[[str], bool]) -> None:
        self.opts = opts
        self._book: _Book | None = None
        self._version = 0

    def after(self, guard: Judge) -> Judge:
        """The guard, and for what it lets through the clients' rules."""

        def judge(db: sqlite3.Connection, message: Inbound) -> str | Verdict | None:
            refused = guard(db, message)
            return self.verdict(db, message) if refused is None else refused

        return judge

    def forget(self) -> None:
        """The rules changed: read them again."""
        self._version += 1
        self._book = None

    def verdict(self, db: sqlite3.Connection, message: Inbound) -> Verdict | None:
        """What is to be done with a text for a client; None: it is for nobody but the box."""
        rule = self.rule_for(db, message)
        if rule is None:
            return None

        def then(connection: Any, inbound_id: int) -> None:
            ops.hand_over(connection, inbound_id, message, rule)

        reason = f"for {rule.client}: {rule.words()}" if rule.mode == "instead" else None
        return Verdict(reason, then)

    def rule_for(self, db: sqlite3.Connection, message: Inbound) -> Rule | None:
        """The rule that decides about a text."""
        book = self._book
        if book is None:
            version = self._version
            book = _Book(ops.rules(db))
            if version == self._version:
                self._book = book
        if message.channel == "timer" or not (book.numbers or book.replies) or self.opts(message.text):
            return None
        rule = None
        if book.numbers:
            heard = words(message.text)
            if message.recipient:
                rule = book.by_words(message.recipient, heard)
            rule = rule or book.by_words("", heard)
        if rule is None and book.replies:
            client_id = ops.answered(db, message.sender, message.received_at_ms)
            rule = None if client_id is None else book.replies.get(client_id)
        return rule
