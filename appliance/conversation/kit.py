"""What every conversation is built with: the phrases, the words and the settings, loaded once a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.conversation.longest import grown
from appliance.conversation.masking import Masker
from appliance.conversation.phrases import PhraseErrors, Phrases, load
from appliance.conversation.wordlists import WordLists, load_words
from appliance.conversation.words import Lexicon

__all__ = ["Kit"]


class Kit:
    """settings: the configuration as plain data; what is missing has the defaults of the configuration."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        conversation = self.section("conversation")
        spoken = tuple(conversation.get("languages") or ("en", "am"))
        self.phrases: Phrases = load(settings.get("phrases_dir"), spoken)
        if too_long := grown(self.phrases, self.language_choices()):
            raise PhraseErrors(too_long)
        self.lexicon = Lexicon(self.phrases.languages.values())
        self.timezone_minutes = int(conversation.get("timezone_minutes", 180))
        self.session_ms = int(conversation.get("session_minutes", 15)) * 60_000
        self.words: WordLists = load_words(self.section("chat").get("words"))
        self.masker = Masker(self.words)

    def section(self, name: str) -> Mapping[str, Any]:
        """One table of the configuration."""
        found = self.settings.get(name)
        return found if isinstance(found, Mapping) else {}

    def say(self, language: str, key: str, /, **values: object) -> str:
        return self.phrases.say(language, key, **values)

    def language_choices(self) -> str:
        """How each language is chosen: `LANG EN English, LANG AM Amharic`."""
        languages = self.phrases.languages
        return ", ".join(f"LANG {code.upper()} {languages[code].name}" for code in self.phrases.spoken)
