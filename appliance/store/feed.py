"""The change feed: who wants to know of a change hears of it after the commit, on the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["Feed", "Listener"]

logger = logging.getLogger(__name__)

Listener = Callable[[dict[str, Any]], None]


class Feed:
    """Synchronous publish and subscribe of small dicts: {"kind": "in|out|session", "id": .., "state": ..}.

    A listener must be quick and must not write; one that raises is logged and keeps its place.
    """

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def __bool__(self) -> bool:
        """True when somebody listens; publishers may skip building the change otherwise."""
        return bool(self._listeners)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the returned function takes it away again, any number of times."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

        return unsubscribe

    def publish(self, change: dict[str, Any]) -> None:
        """Tell every listener. Called on the loop, after the commit that made the change."""
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:
                logger.exception("a listener of the change feed failed")
