"""Which way a message goes, and why not the others.

Pure: what it cannot know (health, allowance) it asks of what it was made with. A route is taken by the
longest prefix of the number, then by price, then by the order of the configuration; a person who was
written to by one route before keeps it where replies matter. The tables are large and the questions
repeat, so what is certain for a prefix, lane and client is remembered until the table changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from appliance.message import Lane

__all__ = ["ANY_MODEM", "Ask", "Choice", "Considered", "RouteRule", "Router"]

ANY_MODEM: Final = ""
REMEMBERED: Final = 16_384  # (prefix, lane, client) with their candidates; about 8 MiB when full
_WHY_LONGEST: Final = 1_000

Health = Callable[[str, frozenset[str]], str]
Allowance = Callable[[str, str, int], str]


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One route as configured.

    name: as in `Outbound.route`; "" is any modem. prefixes: of E.164 numbers, "+2519" or "" for all, with
    the price of a segment in santim. lanes, clients: whom it serves; empty for all. longest: characters of a
    text, 0 for any. replies: what it sends can be answered.
    """

    name: str
    prefixes: Mapping[str, int] = field(default_factory=lambda: {"": 0})
    lanes: frozenset[str] = frozenset(Lane)
    clients: frozenset[int] = frozenset()
    longest: int = 0
    replies: bool = True

    @property
    def shown(self) -> str:
        return self.name or "any modem"


class Ask(NamedTuple):
    """A message to find a route for.

    characters, segments: of its text. sticky: the route its recipient knows, "" for none in particular.
    refused_by: channels that refused it already.
    """

    recipient: str
    lane: str
    client_id: int = 0
    segments: int = 1
    characters: int = 0
    sticky: str | None = None
    refused_by: frozenset[str] = frozenset()


class Considered(NamedTuple):
    """One route and why it was or was not taken."""

    route: str
    taken: bool
    why: str


class Choice(NamedTuple):
    """The route, None when there is none for this number, lane and client.

    ready: it can send now; otherwise the message waits for it. price_santim: of all segments.
    """

    route: str | None
    ready: bool
    price_santim: int
    considered: tuple[Considered, ...]

    @property
    def why(self) -> str:
        """One line for the trace: what was taken first, then each other one."""
        order = sorted(self.considered, key=lambda each: not each.taken)
        text = "; ".join(f"{each.route or 'any modem'}: {each.why}" for each in order)
        return (text or "no route is configured")[:_WHY_LONGEST]


class _Candidate(NamedTuple):
    rule: RouteRule
    prefix: str
    price: int


class _Known(NamedTuple):
    candidates: tuple[_Candidate, ...]
    excluded: tuple[Considered, ...]


def _always_well(route: str, refused_by: frozenset[str]) -> str:
    return ""


def _unlimited(route: str, recipient: str, segments: int) -> str:
    return ""


class Router:
    """health(route, refused_by) and allowance(route, recipient, segments) give "" or why it cannot send."""

    def __init__(
        self,
        rules: Iterable[RouteRule] = (),
        *,
        health: Health = _always_well,
        allowance: Allowance = _unlimited,
    ) -> None:
        self._health = health
        self._allowance = allowance
        self._known: OrderedDict[tuple[str, str, int], _Known] = OrderedDict()
        self.replace(rules)

    def replace(self, rules: Iterable[RouteRule]) -> None:
        """Put another table in force; nothing remembered of the old one is used again."""
        self.rules: Sequence[RouteRule] = tuple(rules)
        self._by_prefix: dict[str, list[tuple[int, int]]] = {}
        for position, rule in enumerate(self.rules):
            for prefix, price in rule.prefixes.items():
                self._by_prefix.setdefault(prefix, []).append((position, price))
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)
        self._longest = self._lengths[0] if self._lengths else 0
        self._known.clear()

    def choose(self, ask: Ask) -> Choice:
        """The first route that can send; else the one to wait for; else none."""
        known = self._look_up(ask.recipient[: self._longest], ask.lane, ask.client_id)
        candidates: Sequence[_Candidate] = known.candidates
        if ask.sticky is not None and len(candidates) > 1:
            candidates = sorted(candidates, key=lambda each: each.rule.name != ask.sticky)
        taken: _Candidate | None = None
        waits: _Candidate | None = None
        considered: list[Considered] = []
        for candidate in candidates:
            rule = candidate.rule
            if taken is not None:
                considered.append(Considered(rule.name, False, self._behind(candidate, taken, ask)))
                continue
            problem, passing = self._problem(rule, ask)
            if not problem:
                taken = candidate
                considered.append(Considered(rule.name, True, self._reason(candidate, ask)))
            else:
                considered.append(Considered(rule.name, False, problem))
                if passing and waits is None:
                    waits = candidate
        chosen = taken or waits
        considered.extend(known.excluded)
        if chosen is None:
            return Choice(None, False, 0, tuple(considered))
        price = chosen.price * ask.segments
        return Choice(chosen.rule.name, taken is not None, price, tuple(considered))

    def _problem(self, rule: RouteRule, ask: Ask) -> tuple[str, bool]:
        """Why it cannot take the message, and whether that passes with time."""
        if rule.longest and ask.characters > rule.longest:
            return f"takes {rule.longest} characters, not {ask.characters}", False
        if rule.name != ANY_MODEM and rule.name in ask.refused_by:
            return "refused it before", True
        ill = self._health(rule.name, ask.refused_by)
        if ill:
            return ill, True
        return self._allowance(rule.name, ask.recipient, ask.segments), True

    def _look_up(self, start: str, lane: str, client_id: int) -> _Known:
        key = (start, lane, client_id)
        known = self._known.get(key)
        if known is not None:
            return known
        best: dict[int, tuple[str, int]] = {}
        for length in self._lengths:
            prefix = start[:length]
            if len(prefix) == length:
                for position, price in self._by_prefix.get(prefix, ()):
                    best.setdefault(position, (prefix, price))
        candidates: list[tuple[int, int, int, _Candidate]] = []
        excluded: list[Considered] = []
        for position, rule in enumerate(self.rules):
            found = best.get(position)
            if found is None:
                excluded.append(Considered(rule.name, False, "no prefix of it fits the number"))
            elif lane not in rule.lanes:
                excluded.append(Considered(rule.name, False, f"not for lane {lane}"))
            elif rule.clients and client_id not in rule.clients:
                excluded.append(Considered(rule.name, False, f"not for client {client_id}"))
            else:
                prefix, price = found
                candidates.append((-len(prefix), price, position, _Candidate(rule, prefix, price)))
        candidates.sort(key=lambda each: each[:3])
        known = _Known(tuple(each[3] for each in candidates), tuple(excluded))
        self._known[key] = known
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known

    @staticmethod
    def _reason(candidate: _Candidate, ask: Ask) -> str:
        sticks = "taken, its recipient knows it" if candidate.rule.name == ask.sticky else "taken"
        prefix = f"prefix {candidate.prefix}" if candidate.prefix else "for every number"
        return f"{sticks} ({prefix}, {candidate.price} santim a segment)"

    @staticmethod
    def _behind(candidate: _Candidate, taken: _Candidate, ask: Ask) -> str:
        if taken.rule.name == ask.sticky:
            return "not the one its recipient knows"
        if len(candidate.prefix) < len(taken.prefix):
            return f"its prefix {candidate.prefix or '(every number)'} is less exact"
        if candidate.price > taken.price:
            return f"dearer, {candidate.price} santim a segment"
        return "comes later in the configuration"
