"""The database file: how it is opened, checked and brought to the schema this program knows.

Exactly one connection writes and checkpoints (SQLite before 3.51.3 can corrupt a WAL file when two do at
once); every other one is opened `mode=ro` with `query_only`. Memory mapping stays off for the same reason.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.store.errors import MigrationFailed, SchemaTooNew

__all__ = [
    "DATABASE_NAME",
    "SCHEMA_DIR",
    "Migration",
    "Prepared",
    "connect_reader",
    "connect_writer",
    "known_migrations",
    "prepare",
    "quick_check",
]

logger = logging.getLogger(__name__)

DATABASE_NAME: Final = "outpost.db"
SCHEMA_DIR: Final = Path(__file__).parent / "schema"
BUSY_TIMEOUT_MS: Final = 250  # nobody else should write; a foreign tool is waited for by the writer's retries
STATEMENT_CACHE: Final = 256  # more than the distinct statements of all ops
_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql\Z")


@dataclass(frozen=True, slots=True)
class Migration:
    """One schema file; `version` is the user_version the database has after it."""

    version: int
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` did. before: user_version found, 0 for a new file. copy: made if it migrated."""

    path: Path
    before: int
    version: int
    copy: Path | None


def known_migrations(directory: Path = SCHEMA_DIR) -> tuple[Migration, ...]:
    """Read the schema files, in order. Raises MigrationFailed when numbers repeat or are missing."""
    found = []
    for path in sorted(directory.glob("*.sql")):
        match = _NAME.match(path.name)
        if match is None:
            raise MigrationFailed(f"{path.name}: a schema file is named NNNN_name.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    versions = [migration.version for migration in found]
    if versions != list(range(1, len(found) + 1)):
        raise MigrationFailed(f"{directory}: schema files are numbered {versions}, want 1, 2, 3 ...")
    return tuple(found)


def _pragmas(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    db.execute("PRAGMA mmap_size=0")
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute("PRAGMA trusted_schema=OFF")


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes. The caller keeps it in one thread at a time.

    Transactions are explicit (`isolation_level=None`); each COMMIT is on disk when it returns.
    """
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENT_CACHE
    )
    try:
        _pragmas(db)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("PRAGMA cache_size=-8192")  # KiB; hot index pages of a large backlog, no more
        db.execute("PRAGMA wal_autocheckpoint=2000")  # pages: 8 MiB, a bounded wait inside one commit
        db.execute("PRAGMA journal_size_limit=33554432")  # bytes kept of a WAL that a long reader let grow
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write: `mode=ro` and `query_only`."""
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    db = sqlite3.connect(
        f"file:{quoted}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENT_CACHE,
    )
    try:
        _pragmas(db)
        db.execute("PRAGMA query_only=1")
        db.execute("PRAGMA cache_size=-2048")
    except BaseException:
        db.close()
        raise
    return db


def prepare(path: Path, migrations: Sequence[Migration] | None = None) -> Prepared:
    """Create the file or bring it to the newest known schema, each schema file in one transaction.

    A file that has data is copied by VACUUM INTO before it is migrated, as `<name>.before-<version>`.
    Raises SchemaTooNew without touching the file, MigrationFailed with the file as it was before the
    schema file that failed, sqlite3.Error when it is no database.
    """
    steps = known_migrations() if migrations is None else tuple(migrations)
    newest = len(steps)
    existed = path.exists() and path.stat().st_size > 0
    if existed:
        # Read first without the right to write: a newer program's file must stay as it is, WAL mode included.
        with contextlib.closing(connect_reader(path)) as db:
            found = _user_version(db)
        if found > newest:
            raise SchemaTooNew(str(path), found, newest)
    with contextlib.closing(connect_writer(path)) as db:
        before = _user_version(db)
        if before > newest:
            raise SchemaTooNew(str(path), before, newest)
        copy = None
        if 0 < before < newest:
            copy = _copy_before(db, path, before)
        for step in steps[before:]:
            _apply(db, step)
        version = _user_version(db)
    if before == 0:
        _sync_directory(path.parent)  # the new name itself must survive a power cut
    return Prepared(path, before, version, copy)


def _user_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _apply(db: sqlite3.Connection, step: Migration) -> None:
    logger.info("migrating the database to version %d (%s)", step.version, step.name)
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n;PRAGMA user_version={step.version};\nCOMMIT;")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.rollback()
        raise MigrationFailed(f"schema {step.version:04d}_{step.name}.sql: {error}") from error


def _copy_before(db: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the whole file beside itself, synced, so that a migration can be undone by hand."""
    target = path.with_name(f"{path.name}.before-{version + 1:04d}")
    scratch = target.with_name(target.name + ".part")
    scratch.unlink(missing_ok=True)
    db.execute("VACUUM INTO ?", (str(scratch),))
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(target)
    _sync_directory(path.parent)
    logger.info("copied the database to %s before migrating it", target.name)
    return target


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quick_check(path: Path) -> str:
    """Run SQLite's quick_check on a connection of its own: "ok", or the first complaints joined.

    Takes about a second per 200 MiB, so the store runs it in a thread beside the first messages.
    """
    try:
        with contextlib.closing(connect_reader(path)) as db:
            rows = db.execute("PRAGMA quick_check(5)").fetchall()
    except sqlite3.Error as error:
        return f"cannot be checked: {error}"
    return "; ".join(str(row[0]) for row in rows)
