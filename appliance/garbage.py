"""When Python looks for garbage in cycles.

By default it looks after every 700 new containers, which is every few messages, and now and then walks all
that a start has made (300,000 objects, tens of milliseconds in which nobody is answered). Here next to
nothing is in cycles, so looking seldom costs little memory and saves about a tenth of a message.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["hold", "settle"]

YOUNG: Final = 10_000  # containers made and not freed since the last look, some 2 MB of them


def hold() -> None:
    """Do not look while everything is being made: imports leave no garbage worth a pause. Then `settle`."""
    gc.disable()


def settle() -> None:
    """What there is now stays for good and is not walked again; from here on look, but seldom."""
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
    gc.enable()
