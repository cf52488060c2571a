"""`outpost run`: the appliance, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from appliance import garbage, loop
from appliance.config import Config, ConfigErrors, load
from appliance.exits import Exit, StartRefused
from appliance.logs import setup
from appliance.notify import notify

__all__ = ["DEFAULT_CONFIG", "configure", "run", "run_config"]

logger = logging.getLogger(__name__)

DEFAULT_CONFIG: Final = "/etc/outpost/outpost.toml"
# "Within 3 s" of the signal. What was accepted is on disk by then, so an end by force loses nothing.
STOP_LIMIT_S: Final = 2.8
REPEAT_S: Final = 1.0  # a signal repeated within it is the same wish


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", default=DEFAULT_CONFIG, metavar="FILE", help=f"TOML file, {DEFAULT_CONFIG} if not given"
    )


def run(args: argparse.Namespace) -> int:
    try:
        config = load(args.config)
    except ConfigErrors as error:
        return refuse(Exit.USAGE, *error.lines)
    return run_config(config)


def refuse(code: Exit, *lines: str) -> int:
    """Print why, one line each, and return the exit code."""
    for line in lines:
        print(line, file=sys.stderr)
    return int(code)


def run_config(config: Config, ready: Callable[[str], None] | None = None) -> int:
    """Serve until a signal comes. Returns one of appliance.exits.Exit.

    ready: called with the page's address once messages are accepted.
    """
    setup(config.log.level)
    try:
        prepare_data_dir(config.data_path)
        return loop.run(_until_signal(config, ready))
    except StartRefused as error:
        return refuse(error.code, error.line)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        return refuse(Exit.PORT_BUSY, f"http.listen {config.http.listen}: {os.strerror(error.errno)}")
    except Exception as error:
        from appliance.store.errors import DataDirectoryInUse, StoreError

        if isinstance(error, DataDirectoryInUse):
            return refuse(Exit.ALREADY_RUNNING, f"{config.data_path}: {error}")
        if isinstance(error, StoreError):
            return refuse(Exit.DATA, str(error))
        logger.critical("the appliance ended by a fault of its own", exc_info=True)
        return int(Exit.FAILED)


def prepare_data_dir(path: Path) -> None:
    """Make the data directory if need be, for its owner only, and see that it can be written.

    Raises StartRefused.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(Exit.DATA, f"data_dir {path}: cannot be made: {error.strerror}") from error
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise StartRefused(Exit.DATA, f"data_dir {path}: cannot be written by user {os.getuid()}")


async def _until_signal(config: Config, ready: Callable[[str], None] | None) -> int:
    garbage.hold()
    # Here, not at the top: aiohttp and the rest cost 0.3 s that a configuration error need not wait for.
    from appliance.server import Appliance, serve

    stop = asyncio.Event()
    running = asyncio.get_running_loop()

    asked_at = 0.0

    def asked(name: str) -> None:
        nonlocal asked_at
        if stop.is_set():
            # A shell signals the process and its group at once; an impatient person needs a moment.
            if time.monotonic() - asked_at > REPEAT_S:
                _end_by_force("told twice to stop")
            return
        asked_at = time.monotonic()
        logger.info("stopping on %s", name)
        notify("STOPPING=1")
        threading.Thread(target=_force_after, args=(STOP_LIMIT_S,), daemon=True).start()
        stop.set()

    for name in ("SIGTERM", "SIGINT"):
        running.add_signal_handler(getattr(signal, name), asked, name)

    def started(appliance: Appliance) -> None:
        garbage.settle()
        if ready is not None:
            ready(appliance.address)

    return await serve(config, stop, started)


def _force_after(limit_s: float) -> None:
    # A thread, not a loop timer: what keeps us from stopping may be a loop that is stuck.
    threading.Event().wait(limit_s)
    _end_by_force(f"not stopped {limit_s} s after the signal")


def _end_by_force(reason: str) -> NoReturn:
    print(
        f"outpost: ended by force: {reason}; nothing that was accepted is lost", file=sys.stderr, flush=True
    )
    os._exit(Exit.STOP_TIMEOUT)
