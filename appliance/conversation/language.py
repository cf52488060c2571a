"""Which language a text is in, by its script and by the words that only one language has."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from appliance.conversation.text import is_ethiopic, words
from appliance.conversation.words import LONGEST, Lexicon

__all__ = ["detect"]

# Words that people type in English whatever they speak, since phones and posters teach them so.
_COMMANDS: Final = frozenset(
    {
        "yes", "no", "more", "back", "menu", "help", "status", "cancel", "stop", "start", "lang", "check",
        "pay", "filler", "ordinal", "am", "pm", "hour", "chat", "ask", "in", "via",
    }
)  # fmt: skip
# Letters of Tigrinya that Amharic spelling does not use.
_TIGRINYA: Final = frozenset("ቐቑቒቓቔቕቖኸኹኺኻኼኽኾኣዓሓሕ")


@lru_cache(maxsize=4096)
def detect(text: str, lexicon: Lexicon) -> str:
    """The language of a text, or "" when nothing in it tells: a number, a town, a command word."""
    found = words(text)
    scores: dict[str, float] = {}
    commands: dict[str, float] = {}
    at = 0
    while at < len(found):
        for length in range(min(LONGEST, len(found) - at), 0, -1):
            concepts = lexicon.exact.get("".join(found[at : at + length]))
            if concepts is not None:
                languages = {language for spoken in concepts.values() for language in spoken}
                kind = commands if all(c in _COMMANDS for c in concepts) else scores
                for language in languages:
                    kind[language] = kind.get(language, 0.0) + length / len(languages)
                at += length
                break
        else:
            at += 1
    if any(is_ethiopic(char) for char in text):
        tigrinya = scores.get("ti", 0.0) + commands.get("ti", 0.0) + 0.4 * sum(c in _TIGRINYA for c in text)
        amharic = scores.get("am", 0.0) + commands.get("am", 0.0)
        return "ti" if tigrinya > amharic else "am"
    if not scores:
        return ""
    best = max(scores.values())
    # Command words break a tie that the others leave.
    leaders = [language for language, score in scores.items() if score == best]
    return max(leaders, key=lambda language: (commands.get(language, 0.0), language == "en"))
