"""Effects: what an app may wish to change, by name, and who grants or refuses it.

An app's module in this package registers its handlers:

    @effect("booking.hold")
    def hold(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any] | None: ...

A handler runs inside the turn's transaction, in the writer's thread. It touches nothing but `db`, since a
group that fails is run again. Raising EffectRefused undoes the whole turn and calls the app again.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "EFFECTS",
    "EffectContext",
    "EffectHandler",
    "EffectRefused",
    "UnknownEffect",
    "apply",
    "effect",
    "load",
]

PROVIDERS: Final = tuple(  # modules that register handlers
    f"appliance.store.{name}"
    for name in ("people", "booking", "payments", "telebirr", "chat", "assistant", "asking")
)


@dataclass(frozen=True, slots=True)
class EffectContext:
    """now_ms: time of the turn. sender: whose turn it is. inbound_id: the message that caused it."""

    now_ms: int
    sender: str
    inbound_id: int


EffectHandler = Callable[[sqlite3.Connection, EffectContext, dict[str, Any]], dict[str, Any] | None]
EFFECTS: Final[dict[str, EffectHandler]] = {}


class EffectRefused(Exception):
    """The change cannot be made now. reason: one word the app knows; detail: plain data to answer with."""

    def __init__(self, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.effect = ""  # filled in by `apply`


class UnknownEffect(Exception):
    """An app asked for an effect nobody registered: a bug, the turn is set aside."""


def effect(name: str) -> Callable[[EffectHandler], EffectHandler]:
    """Register a handler under "<app>.<verb>". Two handlers of one name are a bug."""

    def register(handler: EffectHandler) -> EffectHandler:
        known = EFFECTS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (
            handler.__module__,
            handler.__qualname__,
        ):
            raise ValueError(f"effect {name!r} is registered twice")
        EFFECTS[name] = handler
        return handler

    return register


def load(providers: Iterable[str] = PROVIDERS) -> None:
    """Import the modules that register effects; one that is not installed is passed over."""
    for name in providers:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise


def apply(
    db: sqlite3.Connection, ctx: EffectContext, effects: Iterable[tuple[str, dict[str, Any]]]
) -> list[dict[str, Any] | None]:
    """Run the effects in order. Raises the first EffectRefused, with the effect's name on it."""
    granted = []
    for name, args in effects:
        handler = EFFECTS.get(name)
        if handler is None:
            raise UnknownEffect(f"no effect is called {name!r}")
        try:
            granted.append(handler(db, ctx, args))
        except EffectRefused as refused:
            refused.effect = name
            raise
    return granted
