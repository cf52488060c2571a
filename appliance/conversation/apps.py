"""Finding the conversations: each folder of appliance/apps with a `make_app(kit)` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from appliance.conversation.kit import Kit
from appliance.conversation.turn import App

__all__ = ["available", "installed"]


def available() -> list[str]:
    """Names of the conversations that are there, the booking first since most people come for it."""
    package = importlib.import_module("appliance.apps")
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg]
    return sorted(names, key=lambda name: (name != "booking", name))


def installed(kit: Kit, wanted: Iterable[str] | None = None) -> dict[str, App]:
    """The conversations by name, in the menu's order: those wanted, or all that are there."""
    apps: dict[str, App] = {}
    for name in wanted or available():
        apps[name] = importlib.import_module(f"appliance.apps.{name}").make_app(kit)
    return apps
