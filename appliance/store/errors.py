"""What the store can refuse, as one tree."""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DataDirectoryInUse",
    "MigrationFailed",
    "SchemaTooNew",
    "StoreClosed",
    "StoreError",
    "StoreOverloaded",
    "StoreUnavailable",
]


class StoreError(Exception):
    """Base of all that the store raises on its own account."""

    transient: ClassVar[bool] = False  # may the same call succeed later, unchanged?


class SchemaTooNew(StoreError):
    """The file was written by a later program; this one must not touch it."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path}: schema version {found}, but this program knows only up to {known}; "
            "install the newer program again, or restore the copy made before its migration"
        )
        self.found = found
        self.known = known


class MigrationFailed(StoreError):
    """A schema file did not apply; the database is as it was before that file."""


class DataDirectoryInUse(StoreError):
    """Another process holds the data directory: two writers would corrupt it."""


class StoreClosed(StoreError):
    """The writer has stopped, by close() or because its thread died."""


class StoreOverloaded(StoreError):
    """The writer's queue is at its bound: come back in a moment."""

    transient = True


class StoreUnavailable(StoreError):
    """The disk refused: nothing of this operation is stored.

    state: "busy", "full", "ioerr", "readonly" or "corrupt", as in `Writer.state`.
    """

    transient = True

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(f"the database is {state}: {detail}")
        self.state = state
