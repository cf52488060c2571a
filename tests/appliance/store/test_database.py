"""Opening, checking and migrating the database file."""

from __future__ import annotations

import ast
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.store.database import (
    Migration,
    connect_reader,
    connect_writer,
    known_migrations,
    prepare,
    quick_check,
)
from appliance.store.errors import MigrationFailed, SchemaTooNew

ONE = Migration(1, "one", "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (7);")
TWO = Migration(2, "two", "ALTER TABLE a ADD COLUMN y TEXT NOT NULL DEFAULT 'é;é';")
BROKEN = Migration(2, "broken", "CREATE TABLE b (x INTEGER); CREATE TABLE a (x INTEGER);")


def version_of(path: Path) -> int:
    with closing(connect_reader(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_prepare_new_file_reaches_newest_schema(tmp_path: Path) -> None:
    prepared = prepare(tmp_path / "x.db")
    assert prepared.before == 0
    assert prepared.version == version_of(prepared.path) == len(known_migrations())
    assert prepared.copy is None


def test_prepare_every_table_of_ours_is_strict(tmp_path: Path) -> None:
    path = prepare(tmp_path / "x.db").path
    with closing(connect_reader(path)) as db:
        loose = db.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0"
            " AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    assert loose == []


def test_prepare_old_file_is_copied_then_migrated(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, [ONE])
    prepared = prepare(path, [ONE, TWO])
    assert (prepared.before, prepared.version) == (1, 2)
    assert prepared.copy is not None
    with closing(connect_reader(path)) as db:
        assert db.execute("SELECT x, y FROM a").fetchall() == [(7, "é;é")]
    with closing(connect_reader(prepared.copy)) as db:
        assert db.execute("SELECT * FROM a").fetchall() == [(7,)]
    assert not list(tmp_path.glob("*.part"))


def test_prepare_failing_step_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, [ONE])
    with pytest.raises(MigrationFailed, match=r"0002_broken\.sql"):
        prepare(path, [ONE, BROKEN])
    assert version_of(path) == 1
    with closing(connect_reader(path)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'b'").fetchone() == (0,)


def test_prepare_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, [ONE, TWO])
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match="schema version 2, but this program knows only up to 1"):
        prepare(path, [ONE])
    assert path.read_bytes() == before


def test_prepare_file_that_is_no_database_raises(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        prepare(path)


def test_known_migrations_with_a_gap_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("")
    (tmp_path / "0003_c.sql").write_text("")
    with pytest.raises(MigrationFailed, match="numbered"):
        known_migrations(tmp_path)


def test_writer_connection_syncs_each_commit_without_memory_mapping(tmp_path: Path) -> None:
    with closing(connect_writer(prepare(tmp_path / "x.db").path)) as db:
        pragma = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert db.execute("PRAGMA mmap_size").fetchone() in (None, (0,))


def test_reader_connection_cannot_write(tmp_path: Path) -> None:
    path = prepare(tmp_path / "odd ?#% name.db").path
    with closing(connect_reader(path)) as db:
        assert db.execute("PRAGMA query_only").fetchone() == (1,)
        db.execute("PRAGMA query_only=0")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM inbound")


def test_quick_check_names_the_damage(tmp_path: Path) -> None:
    path = prepare(tmp_path / "x.db").path
    assert quick_check(path) == "ok"
    octets = bytearray(path.read_bytes())
    octets[4096:12288] = b"\xa5" * 8192
    path.write_bytes(octets)
    assert quick_check(path) != "ok"


def test_only_the_writer_may_write() -> None:
    """SQLite 3.40 can corrupt a WAL file when two connections write: all others are opened `mode=ro`."""
    root = Path(__file__).parents[3] / "appliance"
    writers = set()
    for path in root.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and node.id == "connect_writer":
                writers.add(path.relative_to(root).as_posix())
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "sqlite3.connect",
                "aiosqlite.connect",
            ):
                target = ast.unparse(node.args[0])
                if "mode=ro" not in target and "memory" not in target:
                    writers.add(path.relative_to(root).as_posix())
    assert writers == {"store/database.py", "store/writer.py"}
