"""How many travel: counted in numbers, in people beside them, or in the wife and the son who come along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.conversation.dates import number_of
from appliance.conversation.words import Tag, has_word

__all__ = ["passengers_of"]

_PLENTY: Final = 60  # no booking has more passengers; a bigger number is something else


def passengers_of(tags: Sequence[Tag], used: frozenset[int]) -> int | None:
    """The seats that a text asks for, None when it does not say. used: positions of days and hours."""
    if any(has_word(tags, at, "pair") for at in range(len(tags))):
        return 2
    numbers = {
        at: n
        for at, t in enumerate(tags)
        if at not in used
        and (n := number_of(t)) is not None
        and 1 <= n <= _PLENTY
        and not has_word(tags, at + 1, "birr")  # money
        and not ("person" in t.values and _beside_a_number(tags, at))  # ሰባት: seven, or people
    }
    for at, n in numbers.items():
        beside = _BESIDE & {t.text for t in (*tags[max(0, at - 2) : at], *tags[at + 2 : at + 3])}
        joined = beside or any(has_word(tags, i, "me_and") for i in range(at))
        joined = joined or (at > 0 and tags[at - 1].text in _ME)  # me & 3 friends
        if joined and (has_word(tags, at + 1, "friend", "kin") or has_word(tags, at - 1, "friend", "kin")):
            return n + 1  # and the one who texts
        if has_word(tags, at + 2, "person") and tags[at + 1].text in ("other", "more"):
            return n + 1  # "with 1 other person"
        if joined and has_word(tags, at + 1, "person") and tags[at - 1].text == "my":
            return n + 1  # "with my 2 children"
        after_friend = has_word(tags, at - 2, "friend", "kin") and has_word(tags, at - 1, "filler")
        if joined and after_friend and not has_word(tags, at + 1, "person"):
            return n + 1
    persons, first = _persons(tags, numbers)
    if persons:
        # "with my wife and two kids": they, the kin before them, and the one who texts.
        with_kin = (
            _company(tags[:first]) if any(has_word(tags, i, "with", "me_and") for i in range(first)) else 0
        )
        whole = sum(persons) if len(persons) <= 3 else persons[0]
        # "with 4 kids and me"
        whole += any(t.text in _ME and at and tags[at - 1].text in _BESIDE for at, t in enumerate(tags))
        return whole + with_kin + 1 if with_kin else whole
    for at, n in numbers.items():
        if has_word(tags, at + 1, "seat", "ticket"):
            return n
    for at, n in numbers.items():
        if has_word(tags, at - 1, "seat", "ticket", "for") or has_word(tags, at + 1, "seat", "ticket", "bus"):
            return n
    if any(has_word(tags, at, "seat") and tags[at - 1].text in ("a", "an") for at in range(1, len(tags))):
        return 1
    company = _company(tags)
    if company:
        return 1 + company
    if any(has_word(tags, at, "alone") for at in range(len(tags))):
        return 1
    left = [n for n in numbers.values() if n <= 20]
    return left[0] if len(left) == 1 else None


def _beside_a_number(tags: Sequence[Tag], at: int) -> bool:
    return any(0 <= i < len(tags) and number_of(tags[i]) is not None for i in (at - 1, at + 1))


def _persons(tags: Sequence[Tag], numbers: dict[int, int]) -> tuple[list[int], int]:
    """The numbers that stand beside a word for people, each word taken once, and where the first stands."""
    taken: set[int] = set()
    found: list[int] = []
    first = 0
    for at, n in numbers.items():
        after = at + 1
        strange = after < len(tags) and tags[after].kind == "unknown"  # ሁለት ትልልቅ ሰው, two grown people
        if (strange or has_word(tags, after, "filler")) and not has_word(tags, after, "person", "friend"):
            after += 1
        for beside in (at - 1, after):  # Oromo counts behind: nama 2 fi daa'ima 1
            if beside not in taken and beside not in numbers and has_word(tags, beside, "person", "friend"):
                taken.add(beside)
                first = first if found else at
                found.append(n)
                break
    return found, first


_ME: Final = frozenset({"me", "myself", "i", "ani", "anaf", "እኔ", "አነ"})
_BESIDE: Final = frozenset({"with", "and", "n", "ena", "fi", "ከ", "ምስ", "እና", "walin", "wajjin"})


def _company(tags: Sequence[Tag]) -> int:
    """Who comes along by kinship: "with my wife", "me and my son"; not "to my mother"."""
    count = 0
    for at, t in enumerate(tags):
        if not has_word(tags, at, "kin"):
            continue
        before = [x.text for x in tags[max(0, at - 2) : at]]
        rest = [x for i, x in enumerate(tags) if i > at and not has_word(tags, i, "my_after")]
        after = [x.text for x in rest[:1]]
        joined = any(has_word(tags, i, "me_and") for i in range(at))
        joined = joined or any(has_word(tags, i, "with") for i in (at - 2, at - 1, at + 1))
        if joined or _BESIDE & {*before, *after} or t.role == "from" or t.text.endswith(("ና", "ን")):
            count += 1
    return count
