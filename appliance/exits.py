"""Why the process ended, as its exit code. docs/exit-codes.md explains each to the operator."""

from __future__ import annotations

import enum

__all__ = ["Exit", "StartRefused"]


class Exit(enum.IntEnum):
    STOPPED = 0  # asked to stop, stopped cleanly
    FAILED = 1  # a fault of ours, with a traceback in the log; or `check` found something wrong
    USAGE = 2  # wrong arguments or a configuration that cannot be used
    DATA = 3  # the data directory cannot be used: not ours, full, read-only, or of a newer version
    PORT_BUSY = 4  # another program has the HTTP port, or we may not open it
    ALREADY_RUNNING = 5  # an appliance with this data directory runs already
    NOT_RUNNING = 6  # the command asks the running appliance, and none runs
    STOP_TIMEOUT = 7  # asked to stop, and was not done in time: ended by force, nothing accepted is lost


class StartRefused(Exception):
    """The appliance cannot start for a reason that a person must mend. `line` tells it in one line."""

    def __init__(self, code: Exit, line: str) -> None:
        super().__init__(line)
        self.code = code
        self.line = line
