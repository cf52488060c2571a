"""What is taken out of a relayed text until both said SHARE: numbers, links, addresses, account names."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["MASK", "mask"]

MASK: Final = "***"
MOST_CHARS: Final = 300  # of a relayed text: two SMS in Latin letters
_LINK: Final = re.compile(
    r"(?:https?://|www\.)\S+"
    r"|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\b(?:[a-z0-9-]+\.)+(?:com|net|org|et|io|me|ly|app|info|link|xyz)\b(?:/\S*)?"
    r"|(?<!\w)@\w{3,}",
    re.IGNORECASE,
)
# Seven digits or more, whatever stands between them: 0911 22 33 44, 0911-223344, ፱፻፲፩... Dates and prices
# have fewer. Digits of every script count, and o, l and i that stand for digits within a number.
_NUMBER: Final = re.compile(r"\+?\d(?:[\s().,/_*-]{0,3}[\doOlI]){5,}[\s().,/_*-]{0,3}\d")
_DATE: Final = re.compile(r"(?:\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2})\Z")
_ETHIOPIC_NUMBER: Final = re.compile(r"[፩-፼](?:[\s.,-]{0,2}[፩-፼]){3,}")
_SPELT: Final = re.compile(
    r"(?:\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ዜሮ|አንድ|ሁለት|ሶስት|አራት|አምስት|ስድስት|ሰባት|ስምንት|ዘጠኝ)"
    r"\b[\s,.-]*){6,}",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """The text as the other person may read it, cut to what two SMS carry."""
    plain = "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() and not char.isascii() else char for char in text
    )
    for pattern in (_LINK, _NUMBER, _ETHIOPIC_NUMBER, _SPELT):
        plain = pattern.sub(lambda found: found[0] if _DATE.match(found[0]) else MASK, plain)
    return plain[:MOST_CHARS]
