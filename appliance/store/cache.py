"""Caches of what the database knows: lost, damaged or locked at any moment, they cost time and nothing else.

A small dict in front, a diskcache directory behind it that outlives a restart. Keys are text, values are
JSON. diskcache 5.6.3 trusts its directory (it unpickles rows, CVE-2025-69872, and unlinks the file names it
finds in them); `OrjsonDisk` does neither, so whoever can write the directory can at worst plant a value.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import diskcache
import orjson
from diskcache.core import MODE_RAW, UNKNOWN

__all__ = ["Cache", "DiskBackedCache", "MemoryCache", "OrjsonDisk"]

logger = logging.getLogger(__name__)

MAX_VALUE_OCTETS: Final = 65536
DISK_OCTETS: Final = 16 * 1024 * 1024
LOCK_WAIT_S: Final = 0.05  # beyond it the cache is slower than what it caches
REST_S: Final = 5.0  # after trouble the disk is left alone: fifty milliseconds now, and no more at each look
# What a foreign, damaged, locked or vanished directory raises. diskcache.Timeout is an Exception of its own.
BROKEN: Final = (sqlite3.DatabaseError, OSError, ValueError, TypeError, KeyError, diskcache.Timeout)


class Cache(Protocol):
    """A value is JSON; None is not a value. Nothing here raises but TypeError for a value that is no JSON."""

    def get(self, key: str) -> Any | None: ...

    def set(self, key: str, value: Any, *, ttl_s: float | None = None) -> None: ...

    def delete(self, key: str) -> None: ...

    def clear(self) -> None: ...

    def cull(self) -> None:
        """Remove what has expired; for a timer, since gets and sets do no housekeeping."""
        ...


class OrjsonDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Text keys and JSON values in the row itself: never a pickle, never a file of its own."""

    def put(self, key: Any) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise TypeError("cache keys are str")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        if not raw or not isinstance(key, str):
            raise ValueError("foreign cache key")
        return key

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, None, memoryview]:
        blob = orjson.dumps(value)
        if read or len(blob) > MAX_VALUE_OCTETS:
            raise ValueError("not cacheable")
        return 0, MODE_RAW, None, sqlite3.Binary(blob)

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise ValueError("foreign cache value")
        return orjson.loads(value)

    def remove(self, file_path: Any) -> None:
        """Unlink nothing: we store no files, so a row that names one is not ours."""


class MemoryCache:
    """A dict with a bound and a time to live; the oldest written goes first."""

    def __init__(self, entries: int = 1024, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Any, float | None]] = OrderedDict()

    def get(self, key: str) -> Any | None:
        found = self._kept.get(key)
        if found is None:
            return None
        value, until = found
        if until is not None and self._clock() >= until:
            del self._kept[key]
            return None
        return value

    def set(self, key: str, value: Any, *, ttl_s: float | None = None) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (value, None if ttl_s is None else self._clock() + ttl_s)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    def delete(self, key: str) -> None:
        self._kept.pop(key, None)

    def clear(self) -> None:
        self._kept.clear()

    def cull(self) -> None:
        now = self._clock()
        gone = [key for key, (_, until) in self._kept.items() if until is not None and now >= until]
        for key in gone:
            del self._kept[key]


class DiskBackedCache:
    """MemoryCache over diskcache. Only the main process opens it; any trouble is a miss and a fresh start."""

    def __init__(
        self,
        directory: Path,
        *,
        entries: int = 1024,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.rebuilds = 0  # how often the directory had to be thrown away
        self.timeouts = 0  # how often it was locked
        self._front = MemoryCache(entries, clock=clock)
        self._clock = clock
        self._wall = wall
        self._rest_until = -math.inf
        self._disk: diskcache.Cache | None = None

    def get(self, key: str) -> Any | None:
        value = self._front.get(key)
        if value is not None:
            return value
        found = self._guarded(lambda disk: disk.get(key))
        # [value, expiry in wall seconds, time to live; None: for ever]: so that the front can keep it too,
        # and a clock that was set back makes nothing live longer.
        if not (isinstance(found, list) and len(found) == 3):
            return None
        value, until, ttl_s = found
        left = None if until is None else until - self._wall()
        if left is not None and not 0 < left <= ttl_s:
            return None
        self._front.set(key, value, ttl_s=left)
        return value

    def set(self, key: str, value: Any, *, ttl_s: float | None = None) -> None:
        orjson.dumps(value)  # a value that is no JSON is the caller's mistake, told at once
        self._front.set(key, value, ttl_s=ttl_s)
        until = None if ttl_s is None else self._wall() + ttl_s
        self._guarded(lambda disk: disk.set(key, [value, until, ttl_s], expire=ttl_s))

    def delete(self, key: str) -> None:
        self._front.delete(key)
        self._guarded(lambda disk: disk.delete(key))

    def clear(self) -> None:
        self._front.clear()
        self._guarded(lambda disk: disk.clear())

    def cull(self) -> None:
        self._front.cull()
        self._guarded(lambda disk: disk.expire())
        self._guarded(lambda disk: disk.cull())

    def close(self) -> None:
        disk, self._disk = self._disk, None
        if disk is not None:
            with contextlib.suppress(*BROKEN):
                disk.close()

    def _guarded(self, use: Callable[[diskcache.Cache], Any]) -> Any:
        """Use the disk part; locked is a miss, anything else throws the directory away and begins anew.

        Where that does not help (no room, a disk that only reads) the dict in front has to do for a while.
        """
        if self._clock() < self._rest_until:
            return None
        try:
            return use(self._opened())
        except diskcache.Timeout:
            self._locked()
        except BROKEN as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                self._locked()
                return None
            logger.warning("the cache in %s is thrown away: %s", self.directory, error)
            self._throw_away()
            try:
                return use(self._opened())
            except (*BROKEN, diskcache.Timeout):
                self._rest_until = self._clock() + REST_S
        return None

    def _locked(self) -> None:
        self.timeouts += 1
        self._rest_until = self._clock() + REST_S

    def _opened(self) -> diskcache.Cache:
        if self._disk is not None and (self.directory / "cache.db").exists():
            return self._disk
        self.close()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        self._disk = diskcache.Cache(
            str(self.directory),
            disk=OrjsonDisk,
            timeout=LOCK_WAIT_S,
            # No WAL: its -shm file is memory that all share, and whoever truncates it kills us by SIGBUS. No
            # sync either: after a power cut an empty cache is as good.
            sqlite_journal_mode="memory",
            sqlite_synchronous=0,
            sqlite_mmap_size=0,
            sqlite_cache_size=512,
            size_limit=DISK_OCTETS,
            eviction_policy="least-recently-stored",
            cull_limit=0,
            statistics=0,
        )
        return self._disk

    def _throw_away(self) -> None:
        self.rebuilds += 1
        self.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.directory)
