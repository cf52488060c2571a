"""The cache: whatever is done to its directory costs time and nothing else."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import diskcache
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.store.cache import REST_S, DiskBackedCache, MemoryCache, OrjsonDisk


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DiskBackedCache]:
    cache = DiskBackedCache(tmp_path / "cache")
    yield cache
    cache.close()


class Planted:
    """Unpickling this creates a file: what CVE-2025-69872 lets an attacker do."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.victim,))


def plant(cache: DiskBackedCache, **columns: object) -> None:
    """Write a row into the cache's own database, as somebody with access to the directory could."""
    row = {
        "key": "evil", "raw": 1, "store_time": 0, "expire_time": None, "access_time": 0, "access_count": 0,
        "tag": None, "size": 0, "mode": 1, "filename": None, "value": b"null",
    } | columns  # fmt: skip
    with closing(sqlite3.connect(cache.directory / "cache.db")) as db, db:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        db.execute(f"INSERT INTO Cache ({names}) VALUES ({marks})", tuple(row.values()))


def forget_front(cache: DiskBackedCache) -> None:
    cache._front.clear()


def test_cache_value_outlives_the_front_and_the_process(cache: DiskBackedCache) -> None:
    cache.set("a", {"trips": [1, 2], "to": "ሀዋሳ"})
    forget_front(cache)
    assert cache.get("a") == {"trips": [1, 2], "to": "ሀዋሳ"}
    cache.close()
    again = DiskBackedCache(cache.directory)
    assert again.get("a") == {"trips": [1, 2], "to": "ሀዋሳ"}
    again.delete("a")
    assert again.get("a") is None
    again.close()


def test_cache_planted_pickle_is_not_executed(cache: DiskBackedCache, tmp_path: Path) -> None:
    cache.set("good", 1)
    victim = tmp_path / "victim"
    plant(cache, mode=4, value=pickle.dumps(Planted(victim)))
    assert cache.get("evil") is None
    assert not victim.exists()
    assert cache.rebuilds == 1
    cache.set("good", 2)
    forget_front(cache)
    assert cache.get("good") == 2


def test_cache_planted_file_name_deletes_nothing_outside(cache: DiskBackedCache, tmp_path: Path) -> None:
    cache.set("good", 1)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    plant(cache, mode=2, filename="../victim", value=None, expire_time=1.0, size=10**9)
    cache.cull()
    cache.delete("evil")
    cache.clear()
    assert victim.read_text() == "precious"


def test_stock_disk_shows_why_ours_is_needed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with diskcache.Cache(str(tmp_path / "stock")) as stock:
        stock.set("good", 1)
        holder = DiskBackedCache(tmp_path / "stock")
        plant(holder, mode=2, filename="../victim", value=None, expire_time=1.0)
        stock.expire()
    assert not victim.exists()


def test_cache_deleted_directory_is_made_again(cache: DiskBackedCache) -> None:
    cache.set("a", 1)
    shutil.rmtree(cache.directory)
    forget_front(cache)
    assert cache.get("a") is None
    cache.set("a", 2)
    forget_front(cache)
    assert cache.get("a") == 2
    assert cache.directory.stat().st_mode & 0o077 == 0


def test_cache_corrupted_file_is_thrown_away(cache: DiskBackedCache) -> None:
    cache.set("a", 1)
    cache.close()
    for path in cache.directory.iterdir():
        path.write_bytes(b"\xa5" * 65536)
    forget_front(cache)
    assert cache.get("a") is None
    cache.set("a", 2)
    forget_front(cache)
    assert cache.get("a") == 2


def test_cache_locked_file_is_a_miss_and_is_left_alone_for_a_while(tmp_path: Path) -> None:
    now = [1000.0]
    cache = DiskBackedCache(tmp_path / "c", clock=lambda: now[0])
    cache.set("a", 1)
    with closing(sqlite3.connect(cache.directory / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache.set("b", 2)  # does not raise, and does not wait for ever
        assert cache.get("b") == 2  # in front
        started = time.monotonic()
        forget_front(cache)
        assert [cache.get("a") for _ in range(1000)] == [None] * 1000
        assert time.monotonic() - started < 1.0  # nobody waits for the lock again and again
        other.execute("ROLLBACK")
    now[0] += REST_S
    assert cache.get("a") == 1 and cache.get("b") is None
    assert cache.timeouts == 1 and cache.rebuilds == 0
    cache.close()


def test_cache_clock_set_back_makes_nothing_live_longer(tmp_path: Path) -> None:
    wall = [1000.0]
    cache = DiskBackedCache(tmp_path / "c", wall=lambda: wall[0])
    cache.set("a", 1, ttl_s=10)
    forget_front(cache)
    wall[0] -= 365 * 86_400
    assert cache.get("a") is None
    cache.close()


def garble(directory: Path) -> None:
    for path in directory.iterdir():
        path.write_bytes(os.urandom(9000))


def truncate(directory: Path) -> None:
    for path in directory.iterdir():
        os.truncate(path, path.stat().st_size // 2)


def replace_by_a_file(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.write_text("no directory")


def no_tables(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "cache.db")) as db:
        db.execute("DROP TABLE Cache")
        db.execute("DROP TABLE Settings")


DAMAGE = (shutil.rmtree, garble, truncate, replace_by_a_file, no_tables)
STEP = st.one_of(
    st.tuples(st.just("set"), st.sampled_from("abc"), st.integers(0, 10**6)),
    st.tuples(st.just("get"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("forget"), st.just(""), st.just(0)),
    st.tuples(st.just("damage"), st.just(""), st.integers(0, len(DAMAGE) - 1)),
    st.tuples(st.just("later"), st.just(""), st.just(0)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=30))
def test_cache_any_damage_at_any_moment_costs_time_only(
    tmp_path: Path, steps: list[tuple[str, str, int]]
) -> None:
    now = [1000.0]
    directory = tmp_path / uuid.uuid4().hex
    cache = DiskBackedCache(directory, clock=lambda: now[0])
    truth: dict[str, set[int]] = {}  # a torn file may bring an older value back, but never a foreign one
    front: set[str] = set()
    for what, key, number in steps:
        if what == "set":
            cache.set(key, number)
            truth.setdefault(key, set()).add(number)
            front.add(key)
        elif what == "get":
            found = cache.get(key)
            assert found in truth.get(key, ()) or (found is None and key not in front)
        elif what == "forget":
            forget_front(cache)
            front.clear()
        elif what == "later":
            now[0] += REST_S
        elif directory.is_dir():
            with contextlib.suppress(sqlite3.Error):
                DAMAGE[number](directory)
    if directory.is_file():
        directory.unlink()
    now[0] += REST_S
    cache.set("last", "word")
    cache.get("a")
    cache.set("last", "word")  # whatever it was, it works again
    forget_front(cache)
    assert cache.get("last") == "word"
    cache.close()


def test_cache_without_room_on_the_disk_works_from_memory(tmp_path: Path) -> None:
    code = (
        "import pathlib, resource, signal, sys\n"
        "from appliance.store.cache import DiskBackedCache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "cache = DiskBackedCache(pathlib.Path(sys.argv[1]))\n"
        "cache.set('a', 1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "for n in range(200): cache.set(f'k{n}', 'x' * 5000)\n"
        "print(cache.get('a'), len(cache.get('k199')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["1", "5000"], done.stderr
    assert done.stderr.count("thrown away") <= 2


def test_cache_value_expires_on_disk_and_in_front(tmp_path: Path) -> None:
    now = [1000.0]
    cache = DiskBackedCache(tmp_path / "c", clock=lambda: now[0], wall=lambda: now[0])
    cache.set("a", 1, ttl_s=10)
    now[0] += 9
    forget_front(cache)
    assert cache.get("a") == 1
    now[0] += 2
    assert cache.get("a") is None
    forget_front(cache)
    assert cache.get("a") is None
    cache.close()


def test_cache_value_that_is_no_json_raises(cache: DiskBackedCache) -> None:
    with pytest.raises(TypeError):
        cache.set("a", object())


def test_disk_refuses_keys_and_values_that_are_not_ours(tmp_path: Path) -> None:
    disk = OrjsonDisk(str(tmp_path))
    with pytest.raises(TypeError):
        disk.put(5)
    with pytest.raises(ValueError):
        disk.get(b"pickled", False)
    with pytest.raises(ValueError):
        disk.store("x" * 70_000, False)
    for mode, filename, value in ((4, None, b"x"), (1, "../f", b"1"), (1, None, "text")):
        with pytest.raises(ValueError):
            disk.fetch(mode, filename, value, False)
    disk.close() if hasattr(disk, "close") else None


def test_memory_cache_oldest_written_goes_first() -> None:
    cache = MemoryCache(2)
    for key in "abc":
        cache.set(key, key)
    assert [cache.get(key) for key in "abc"] == [None, "b", "c"]
    cache.set("b", 1)
    cache.set("d", 1)
    assert cache.get("c") is None and cache.get("b") == 1
