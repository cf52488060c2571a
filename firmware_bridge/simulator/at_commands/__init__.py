"""The commands a simulated modem knows, by topic. `find_handler` is how the modem looks one up."""

from __future__ import annotations

from firmware_bridge.simulator.at_commands import general, identity, messages, registration, sending, ussd
from firmware_bridge.simulator.at_commands.table import TABLE, Handler
from firmware_bridge.simulator.line import Call
from firmware_bridge.simulator.personality import Personality

__all__ = ["find_handler"]

# Importing the modules fills the table; naming them here keeps the imports honest.
TOPICS = (general, identity, messages, registration, sending, ussd)


def find_handler(call: Call, personality: Personality) -> Handler | None:
    """The handler of a command, or None when this modem does not know it."""
    if call.name in identity.ICCID_NAMES and call.name not in personality.iccid_commands:
        return None
    return TABLE.get(call.name)
