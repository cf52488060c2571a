"""The settings of the chat and the assistant, and what only several of them together can get wrong."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from appliance.settings_tree import described

__all__ = ["Assistant", "Chat", "absolute_files", "talk_mistakes"]

_FILE: Final = "file:"
_NUMBER: Final = Meta(pattern=r"^\+[1-9]\d{6,14}$")


class Assistant(Struct, frozen=True, forbid_unknown_fields=True):
    """endpoint None: no model is asked; the knowledge and people answer."""

    knowledge: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        described(
            "Folder with the operator's questions and answers; without it the sample is used until a file is"
            " brought.",
            "a folder with files such as en.csv and am.md",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        described(
            "Address of a language model's API, up to and with /v1; without it only the knowledge answers.",
            "an http:// or https:// address, such as 'http://127.0.0.1:11434/v1'",
        ),
    ] = None
    kind: Annotated[
        Literal["openai", "azure"],
        described(
            "How the endpoint is spoken to; llama.cpp, Ollama and most others speak 'openai'.",
            "'openai' or 'azure'",
        ),
    ] = "openai"
    model: Annotated[
        str,
        described(
            "The model to ask, of kind 'azure' the deployment.", "a name, such as 'llama3.2'", max_length=128
        ),
    ] = ""
    api_version: Annotated[
        str,
        described(
            "Of kind 'azure': the dated version in the older form of its addresses; '' for the v1 form.",
            "a version, such as '2024-10-21', or ''",
            max_length=40,
        ),
    ] = ""
    api_key: Annotated[
        str | None,
        described(
            "The endpoint's key; better kept in a file of its own or in OUTPOST__ASSISTANT__API_KEY.",
            "a key, or 'file:' and the path of the file that holds it",
        ),
    ] = None
    timeout_s: Annotated[
        float,
        described(
            "The person is answered without the model after so long, in seconds.", "2 to 120", ge=2, le=120
        ),
    ] = 15.0
    parallel: Annotated[
        int, described("Questions that the endpoint is asked at once.", "1 to 32", ge=1, le=32)
    ] = 4
    answer_tokens: Annotated[
        int,
        described(
            "Tokens that an answer may take; models that think before they answer need more.",
            "100 to 8000",
            ge=100,
            le=8000,
        ),
    ] = 500
    tokens_per_person: Annotated[
        int, described("Tokens that one person's questions may take a day; 0 for no cap.", "0 or more", ge=0)
    ] = 20_000
    tokens_per_client: Annotated[
        int,
        described(
            "Tokens that the questions which came by one client's rules may take a day; 0 for no cap.",
            "0 or more",
            ge=0,
        ),
    ] = 0
    cost_per_day: Annotated[
        float,
        described(
            "What all questions may cost a day, in the currency of the prices; 0 for no cap.",
            "0 or more",
            ge=0,
        ),
    ] = 0.0
    input_price: Annotated[
        float, described("Price of a million tokens that are sent.", "0 or more", ge=0)
    ] = 0.0
    output_price: Annotated[
        float, described("Price of a million tokens that come back.", "0 or more", ge=0)
    ] = 0.0

    def key(self) -> str:
        """The endpoint's key, "" for none. Raises ValueError with what is wrong; the key is not in it."""
        key = self.api_key or ""
        if key.startswith(_FILE):
            path = Path(key.removeprefix(_FILE))
            try:
                key = path.read_text(encoding="utf-8")
            except OSError as error:
                raise ValueError(f"assistant.api_key: {path} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError:
                raise ValueError(f"assistant.api_key: {path} is not text") from None
        key = key.strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("assistant.api_key: it has blanks, line ends or letters that no key has")
        return key


class Chat(Struct, frozen=True, forbid_unknown_fields=True):
    idle_minutes: Annotated[
        int,
        described("A pair in which nobody wrote for so long ends, in minutes.", "1 to 1440", ge=1, le=1440),
    ] = 30
    wait_minutes: Annotated[
        int,
        described(
            "Who waited so long without a match is told so, and waits no more, in minutes.",
            "1 to 1440",
            ge=1,
            le=1440,
        ),
    ] = 60
    chats_per_day: Annotated[
        int, described("Chats that a person may begin a day.", "1 to 1000", ge=1, le=1000)
    ] = 30
    texts_per_day: Annotated[
        int,
        described("Texts of a person that are passed on a day.", "1 to 10000", ge=1, le=10_000),
    ] = 300
    words: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        described("Folder with the word lists; without it those that come with Outpost.", "a folder"),
    ] = None
    digest_to: Annotated[
        tuple[Annotated[str, _NUMBER], ...],
        described(
            "Numbers of admins who get a digest of the chat by SMS, while there is something to tell.",
            "a list of numbers in international form, such as ['+251911234567']",
        ),
    ] = ()
    digest_minutes: Annotated[
        int, described("Minutes between two digests.", "10 to 1440", ge=10, le=1440)
    ] = 60


def _is_private(host: str) -> bool:
    if host == "localhost" or "." not in host or host.endswith((".local", ".lan", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def talk_mistakes(assistant: Assistant) -> list[str]:
    """What is wrong with the assistant's endpoint, as lines from `assistant.` on; no line holds the key."""
    if assistant.endpoint is None:
        return []
    lines = []
    parts = urlsplit(assistant.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        return ["assistant.endpoint: want an http:// or https:// address without key or query in it"]
    if not assistant.model:
        lines.append("assistant.model: missing; want the name of the model or deployment")
    if assistant.kind == "azure" and not assistant.api_key:
        lines.append("assistant.api_key: missing; want the key of the Azure resource")
    if assistant.api_key and parts.scheme == "http" and not _is_private(parts.hostname):
        lines.append("assistant.endpoint: the key would travel in the open; want https://")
    return lines


def absolute_files(assistant: Assistant, chat: Chat, folder: Path) -> tuple[Assistant, Chat]:
    """The same with files and folders that count from the configuration's folder."""

    def whole(path: str | None) -> str | None:
        return None if path is None else str((folder.absolute() / Path(path).expanduser()).resolve())

    key = assistant.api_key or ""
    return (
        msgspec.structs.replace(
            assistant,
            knowledge=whole(assistant.knowledge),
            api_key=f"{_FILE}{whole(key.removeprefix(_FILE))}"
            if key.startswith(_FILE)
            else assistant.api_key,
        ),
        msgspec.structs.replace(chat, words=whole(chat.words)),
    )
