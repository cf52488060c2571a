"""Outpost, an SMS server in a box: everything but the modem side, which is `firmware_bridge`."""

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"  # pyproject.toml says the same; a test compares them
