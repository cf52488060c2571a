"""What a person wants, read from one text: intent, towns, day, hour, passengers, ticket code.

Pure: the same text, towns and day give the same answer. The dialogue decides what to do with it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from appliance.apps.booking.codes import find_code
from appliance.conversation.dates import Moment, number_of, read
from appliance.conversation.words import Lexicon, Names, Tag, tag

__all__ = ["Request", "understand"]


class Request(msgspec.Struct, frozen=True):
    """One text, understood.

    intent: book, search, help, cancel, stop, status, greet, ask_price, other or clarify. origin and
    destination: keys of towns, several when unclear, none when not named; place: a town named alone, whose
    role the text does not tell (it is in destination too). unknown: a word that stands where a town should.
    bare: the whole text is this number. concepts: all that was heard.
    """

    intent: str
    origin: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    unknown: str = ""
    moment: Moment = Moment()
    passengers: int | None = None
    code: str = ""
    bare: int | None = None
    concepts: frozenset[str] = frozenset()


@lru_cache(maxsize=4096)  # pure, and many people send the same words: "1", YES, the line on the poster
def understand(
    text: str, lexicon: Lexicon, names: Names, today: dt.date, calendar: str, *, horizon_days: int = 90
) -> Request:
    """Read a text. calendar: how bare day numbers are counted ("gregorian" or "ethiopian")."""
    tags = tag(text, lexicon, names)
    concepts = frozenset(value for t in tags if t.kind == "word" for value in t.values)
    code = find_code(text)
    if code and not (len(tags) <= 6 and _code_fits(text, code, concepts)):
        code = ""
    tags = _slang(tags)
    origin, destination, place, unknown = _places(tags)
    moment = read(tags, today, calendar, horizon_days=horizon_days) if not code else Moment()
    passengers = _passengers(tags, moment.used) if not code else None
    numbers = [n for t in tags if (n := number_of(t)) is not None]
    bare = numbers[0] if len(numbers) == 1 and all(_is_number_or_filler(t) for t in tags) else None
    intent = _intent(tags, concepts, code, bool(origin or destination), moment, passengers)
    if intent == "stop":
        return Request(intent, concepts=concepts)
    if not tags and "?" in text:
        intent = "help"
    if intent in ("book", "search", "ask_price") and (
        len(origin) > 1 or len(destination) > 1 or moment.unclear
    ):
        intent = "clarify"
    return Request(intent, origin, destination, place, unknown, moment, passengers, code, bare, concepts)


def _code_fits(text: str, code: str, concepts: frozenset[str]) -> bool:
    """A code stands alone, or beside a word that goes with one: AWASH7 in a sentence is a town."""
    return len(text.split()) == 1 or bool(
        concepts & {"check", "status", "pay", "cancel", "refund", "ticket", "book"}
    )


def _is_number_or_filler(t: Tag) -> bool:
    return number_of(t) is not None or (t.kind == "word" and bool({"filler", "hash"} & set(t.values)))


def _word(tags: Sequence[Tag], at: int, *concepts: str) -> bool:
    return 0 <= at < len(tags) and tags[at].kind == "word" and any(c in tags[at].values for c in concepts)


_VERBS: Final = frozenset(
    {"b", "be", "get", "come", "book", "reserve", "know", "pay", "buy", "c", "see", "reach"}
)
_DAYS: Final = ("today", "tomorrow", "after_tomorrow", *(f"wd_{n}" for n in range(1, 8)))


def _slang(tags: list[Tag]) -> list[Tag]:
    """Read "addis 2 hawassa" as to, and "4 tomorrow" as for: digits that stand for words become them."""
    out = list(tags)
    for at, t in enumerate(tags):
        if t.kind != "number" or at + 1 >= len(tags):
            continue
        place_next = tags[at + 1].kind in ("name", "unknown") and tags[at + 1].role != "from"
        going = at > 0 and (
            tags[at - 1].kind == "name" or _word(tags, at - 1, "bus", "search", "ask_price", "seat", "ticket")
        )
        going = going or (_word(tags, at - 1, "want", "book") and "go" in tags[at - 1].text.split())
        verb_next = _word(tags, at + 1, "want", "to", "book") and tags[at + 1].text[:2] in ("go", "tr")
        verb_next = verb_next or (_word(tags, at - 1, "how", "want") and _word(tags, at + 1, "book"))
        verb_next = verb_next or (
            _word(tags, at - 1, "how", "how_to", "want") and tags[at + 1].text in _VERBS
        )
        if t.text == "2" and ((going and place_next) or (at > 0 and verb_next)):
            out[at] = Tag("word", "2", ("to",), "", ("en",))
        elif t.text == "4" and (
            _word(tags, at + 1, *_DAYS)
            or (_word(tags, at - 1, "seat", "ticket", "bus") and number_of(tags[at + 1]) is not None)
            or (place_next and _word(tags, at - 1, "ask_price", "bus", "ticket"))
        ):
            out[at] = Tag("word", "4", ("for",), "", ("en",))
    return out


def _places(
    tags: Sequence[Tag],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]:
    """Origin, destination, a place without a role, and a word where a town should be."""
    origin: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    plain: list[tuple[str, ...]] = []
    beneficiary: tuple[str, ...] = ()
    unknown = ""
    for at, t in enumerate(tags):
        if t.kind == "unknown":
            if (
                not unknown
                and len(t.text) >= 3
                and (_word(tags, at - 1, "from", "to") or t.role in ("from", "to"))
            ):
                unknown = t.text
            continue
        if t.kind != "name" or _word(tags, at - 1, "via") or _word(tags, at + 1, "via"):
            continue
        role = _role(tags, at)
        if not role and _word(tags, at + 1, "to") and at + 2 < len(tags) and tags[at + 2].kind == "unknown":
            role = "from"  # "Gondar to Debark": only the other town is unknown
        if role == "from" and not origin:
            origin = t.values
        elif role == "to" and destination and not origin and t.role == "to":
            origin, destination = destination, t.values  # Ambootii Finfinneetti: the two endings fold alike
        elif role == "to" and not destination:
            destination = t.values
        elif role == "for" and not beneficiary:
            beneficiary = t.values
        else:
            plain.append(t.values)
    if beneficiary:  # "for Adama" is where they go, unless another town is
        if destination:
            plain.insert(0, beneficiary)
        else:
            destination = beneficiary
    plain = [p for p in plain if p not in (origin, destination)] or plain[:0]
    if len(plain) >= 2 and not origin and not destination:
        return plain[0], plain[1], (), unknown
    if plain and origin and not destination:
        return origin, plain[0], (), unknown
    if plain and destination and not origin:
        return plain[0], destination, (), unknown
    if plain and not origin and not destination:
        return (), plain[0], plain[0], unknown
    return origin, destination, (), unknown


def _role(tags: Sequence[Tag], at: int) -> str:
    if _word(tags, at + 1, "from_after"):
        return "from"
    if _word(tags, at + 1, "to_after"):
        return "to"
    if tags[at].role:
        return tags[at].role
    before = at - 1
    while before > 0 and _word(tags, before, "filler"):
        before -= 1
    if _word(tags, before, "from"):
        return "from"
    if _word(tags, before, "to"):
        return "to"
    if _word(tags, before, "for") and before == at - 1:
        return "for"
    return ""


_PLENTY = 60  # no booking has more passengers; a bigger number is something else


def _passengers(tags: Sequence[Tag], used: frozenset[int]) -> int | None:
    if any(_word(tags, at, "pair") for at in range(len(tags))):
        return 2
    numbers = {
        at: n
        for at, t in enumerate(tags)
        if at not in used
        and (n := number_of(t)) is not None
        and 1 <= n <= _PLENTY
        and not _word(tags, at + 1, "birr")  # money
        and not (at and "person" in t.values and number_of(tags[at - 1]) is not None)  # ሰባት: seven, or people
    }
    for at, n in numbers.items():
        beside = _BESIDE & {t.text for t in (*tags[max(0, at - 2) : at], *tags[at + 2 : at + 3])}
        joined = beside or any(_word(tags, i, "me_and") for i in range(at))
        if joined and (_word(tags, at + 1, "friend", "kin") or _word(tags, at - 1, "friend", "kin")):
            return n + 1  # and the one who texts
        if _word(tags, at + 2, "person") and tags[at + 1].text in ("other", "more"):
            return n + 1  # "with 1 other person"
        if joined and _word(tags, at + 1, "person") and tags[at - 1].text == "my":
            return n + 1  # "with my 2 children"
        after_friend = _word(tags, at - 2, "friend", "kin") and _word(tags, at - 1, "filler")
        if joined and after_friend and not _word(tags, at + 1, "person"):
            return n + 1
    persons, first = _persons(tags, numbers)
    if persons:
        # "with my wife and two kids": they, the kin before them, and the one who texts.
        with_kin = (
            _company(tags[:first]) if any(_word(tags, i, "with", "me_and") for i in range(first)) else 0
        )
        whole = sum(persons) if len(persons) <= 3 else persons[0]
        return whole + with_kin + 1 if with_kin else whole
    for at, n in numbers.items():
        if _word(tags, at + 1, "seat", "ticket"):
            return n
    for at, n in numbers.items():
        if _word(tags, at - 1, "seat", "ticket", "for") or _word(tags, at + 1, "seat", "ticket", "bus"):
            return n
    company = _company(tags)
    if company:
        return 1 + company
    if any(_word(tags, at, "alone") for at in range(len(tags))):
        return 1
    left = [n for n in numbers.values() if n <= 20]
    return left[0] if len(left) == 1 else None


def _persons(tags: Sequence[Tag], numbers: dict[int, int]) -> tuple[list[int], int]:
    """The numbers that stand beside a word for people, each word taken once, and where the first stands."""
    taken: set[int] = set()
    found: list[int] = []
    first = 0
    for at, n in numbers.items():
        after = at + 1
        if _word(tags, after, "filler") and not _word(tags, after, "person", "friend"):
            after += 1
        for beside in (at - 1, after):  # Oromo counts behind: nama 2 fi daa'ima 1
            if beside not in taken and beside not in numbers and _word(tags, beside, "person", "friend"):
                taken.add(beside)
                first = first if found else at
                found.append(n)
                break
    return found, first


_BESIDE: Final = frozenset({"with", "and", "n", "ena", "fi", "ከ", "ምስ", "እና", "walin", "wajjin"})


def _company(tags: Sequence[Tag]) -> int:
    """Who comes along by kinship: "with my wife", "me and my son"; not "to my mother"."""
    count = 0
    for at, t in enumerate(tags):
        if not _word(tags, at, "kin"):
            continue
        before = [x.text for x in tags[max(0, at - 2) : at]]
        rest = [x for i, x in enumerate(tags) if i > at and not _word(tags, i, "my_after")]
        after = [x.text for x in rest[:1]]
        joined = any(_word(tags, i, "me_and") for i in range(at))
        joined = joined or any(_word(tags, i, "with") for i in (at - 2, at - 1, at + 1))
        if joined or _BESIDE & {*before, *after} or t.role == "from" or t.text.endswith(("ና", "ን")):
            count += 1
    return count


def _intent(
    tags: Sequence[Tag],
    concepts: frozenset[str],
    code: str,
    towns: bool,
    moment: Moment,
    passengers: int | None,
) -> str:
    travel = towns or bool(moment.days)
    if concepts & {"stop"} and not towns and not concepts & {"book", "bus", "ticket"} and len(tags) <= 8:
        return "stop"
    if "stop_idle" in concepts and len(tags) == 1:
        return "stop"
    if concepts & {"cancel", "refund"}:
        return "cancel"
    if code:
        return "status"
    if "status" in concepts and not (towns and (moment.days or passengers)):
        return "status"
    if not towns and not concepts & {"book", "want"}:
        kept = bool(concepts & {"ticket", "seat", "pay", "booking"})
        if kept and ("arrive" in concepts or _mine(tags)):
            return "status"
    if "ask_price" in concepts and not ("book" in concepts and passengers and moment.days):
        return "ask_price"
    how_to = "how_to" in concepts or ("how" in concepts and bool(concepts & _DOING))
    if ("help" in concepts or how_to) and not towns:
        return "help"
    if "menu" in concepts and not towns:
        return "help"
    if "birr" in concepts and towns and not passengers and not concepts & {"book", "ticket"}:
        return "ask_price"
    if "pay" in concepts and not travel and not concepts & {"book", "search"}:
        return "help"
    asks = "search" in concepts
    wants = bool(concepts & {"book", "ticket"}) or (
        "want" in concepts and bool(travel or concepts & {"bus", "seat"})
    )
    if asks and "greet" in concepts and not travel and not concepts & {"bus", "ticket", "seat"}:
        return "greet"
    if asks and not ("book" in concepts and passengers):
        return "search" if travel or concepts & {"bus", "ticket", "seat"} or len(tags) <= 3 else "other"
    if wants and _about_travel(tags, concepts, travel):
        return "book"
    if "check" in concepts:
        return "status"
    if towns:
        return "book" if passengers or (moment.days and "bus" not in concepts) else "search"
    if "bus" in concepts:
        strange = sum(t.kind == "unknown" for t in tags)
        return "other" if "yesterday" in concepts or strange >= 2 else "search"
    if "seat" in concepts and passengers:
        return "book"
    if "greet" in concepts and sum(t.kind == "unknown" for t in tags) <= 2:
        return "greet"
    known = sum(t.kind != "unknown" and not _word(tags, at, "filler") for at, t in enumerate(tags))
    if (
        moment.days
        or moment.minutes
        or moment.window
        or passengers
        or concepts & {"yes", "no", "more", "want", "back"}
    ):
        return "clarify" if known * 2 >= len(tags) else "other"
    return "other"


def _mine(tags: Sequence[Tag]) -> bool:
    """ "my ticket", "tikeetii koo": of what somebody has already."""
    return any(
        _word(tags, at, "ticket", "seat") and (_word(tags, at - 1, "my") or _word(tags, at + 1, "my_after"))
        for at in range(len(tags))
    )


_DOING: Final = frozenset({"book", "ticket", "pay"})


def _about_travel(tags: Sequence[Tag], concepts: frozenset[str], travel: bool) -> bool:
    """ "I want to go to the cinema" has a verb of travel and nothing else of it."""
    if travel or concepts & {"ticket", "bus", "seat"}:
        return True
    strange = sum(t.kind == "unknown" for t in tags)
    return strange <= 1
