"""How a command asks the running appliance: JSON lines over the unix socket in its data directory."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path
from typing import Any, Final

from appliance.config import ConfigErrors, load
from appliance.exits import Exit

__all__ = ["DEMO_DIR", "NotRunning", "add_where", "ask", "find_socket", "tell"]

DEFAULT_CONFIG: Final = Path("/etc/outpost/outpost.toml")
DEMO_DIR: Final = Path(__file__).parents[2] / ".outpost" / "demo"
ANSWER_LIMIT: Final = 4_000_000  # bytes; a trace of a number is at most some hundred messages


class NotRunning(Exception):
    """Nobody answers on the socket. The text says where we looked."""


def add_where(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the arguments that say which appliance is meant.

    default: argparse.SUPPRESS where a parser above has them already.
    """
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="its configuration; else the demo, or " + str(DEFAULT_CONFIG),
    )
    where.add_argument("--data-dir", metavar="DIR", default=default, help="its data directory")


def find_socket(args: argparse.Namespace) -> Path:
    """The control socket of the appliance that is meant. Raises ConfigErrors."""
    if args.data_dir:
        return Path(args.data_dir) / "outpost.sock"
    if args.config:
        return load(args.config).control_socket
    demo = DEMO_DIR / "outpost.sock"
    if demo.exists() or not DEFAULT_CONFIG.exists():
        return demo
    return load(DEFAULT_CONFIG).control_socket


def ask(path: Path, request: dict[str, Any], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Send one request, return the answer's object. Raises NotRunning."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = _line(sock)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(
            f"no appliance runs on {path.parent}: start it with `outpost run` or `make run`"
        ) from error
    except PermissionError as error:
        raise NotRunning(f"{path}: not yours to use; try: sudo -u outpost outpost ...") from error
    except TimeoutError as error:
        raise NotRunning(f"{path}: the appliance did not answer within {timeout_s:g} s") from error
    if not answer:
        raise NotRunning(f"{path}: the appliance hung up; it may be stopping")
    value = json.loads(answer)
    return value if isinstance(value, dict) else {"error": f"odd answer: {value!r}"}


def tell(
    args: argparse.Namespace, request: dict[str, Any], *, timeout_s: float = 10.0
) -> dict[str, Any] | int:
    """Ask and return the answer, or print what was wrong and return the exit code."""
    try:
        answer = ask(find_socket(args), request, timeout_s=timeout_s)
    except ConfigErrors as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        return int(Exit.USAGE)
    except NotRunning as error:
        print(f"outpost: {error}", file=sys.stderr)
        return int(Exit.NOT_RUNNING)
    if "error" in answer:
        print(f"outpost: {answer['error']}", file=sys.stderr)
        return int(Exit.FAILED)
    return answer


def _line(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < ANSWER_LIMIT:
        chunk = sock.recv(65_536)
        if not chunk:
            break
        data += chunk
    return data
