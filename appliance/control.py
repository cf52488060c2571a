"""The appliance's own door for its command line: JSON lines on a unix socket in the data directory.

The command never opens the database to write; it asks here. One request a line, one answer a line:
{"op": "send", "to", "text", "lane"?} -> {"ok": true, "id"}; {"op": "trace", "what"} -> {"ok": true,
"messages": [...]}; {"op": "check"} -> {"ok": true, ...}. A refusal is {"error": "one line for a person"}.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

__all__ = ["ControlError", "ControlSocket", "Handler"]

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
MAX_LINE: Final = 64 * 1024


class ControlError(Exception):
    """The request cannot be done; the text is what the person at the command line reads."""


class ControlSocket:
    """Serves `handlers` by op name to whoever may open the socket: the data directory's owner."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        # A socket file that a crash left behind refuses a new bind; the directory's lock is what keeps
        # two appliances apart, so the file may go.
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(orjson.dumps(await self._answer(line), default=str) + b"\n")
                await writer.drain()
        except ValueError:
            writer.write(orjson.dumps({"error": f"a request is at most {MAX_LINE} octets"}) + b"\n")
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return {"error": f"not JSON: {error}"}
        op = request.get("op") if isinstance(request, dict) else None
        handler = self._handlers.get(op) if isinstance(op, str) else None
        if handler is None:
            return {"error": f"op {op!r} is unknown; known: {', '.join(sorted(self._handlers))}"}
        try:
            return {"ok": True, **await handler(request)}
        except ControlError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("the control request %r failed", op)
            return {"error": f"{type(error).__name__}: {error}; the appliance's log has more"}
