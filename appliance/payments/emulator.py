"""`outpost emulate telebirr`: its API, a checkout page and a control, with keys made in a folder."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Final

from appliance import loop
from appliance.payments.telebirr.emulator import Account, Emulator
from appliance.payments.telebirr.signing import Signer, Verifier, new_key_pair

__all__ = ["account", "configure", "run"]

APP_ID: Final = "emulated-app"
SECRET: Final = "emulated-secret"  # noqa: S105 - of the emulator only
MERCHANT_APP_ID: Final = "930231098009602"
SHORT_CODE: Final = "101010"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8282, metavar="N", help="of 127.0.0.1 (default 8282)")
    parser.add_argument(
        "--folder", type=Path, default=Path("telebirr"), metavar="DIR", help="where the keys are made"
    )
    parser.add_argument("--padding", choices=("pss", "pkcs1"), default="pss")
    parser.add_argument("--times", choices=("s", "ms", "text"), default="s", help="how callbacks write times")
    parser.add_argument("--token-life", type=float, default=3600, metavar="S")
    parser.add_argument("--pay-after", type=float, metavar="S", help="every order is paid by itself")


def account(folder: Path, padding: str = "pss") -> Account:
    """Keys of both sides under `folder`, made when they are not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("merchant", "telebirr"):
        if not (folder / f"{name}.key").exists():
            new_key_pair(folder, name)
    (folder / "secret").write_text(SECRET + "\n")
    return Account(
        APP_ID,
        SECRET,
        MERCHANT_APP_ID,
        SHORT_CODE,
        Verifier.load(folder / "merchant.pub", padding),
        Signer.load(folder / "telebirr.key", padding),
    )


def settings(folder: Path, emulator: Emulator, padding: str) -> str:
    """What an outpost.toml needs to use it."""
    where = folder.resolve()
    return "\n".join(
        (
            "[payments.telebirr]",
            f'app_id = "{APP_ID}"',
            f'app_secret = "file:{where}/secret"',
            f'merchant_app_id = "{MERCHANT_APP_ID}"',
            f'short_code = "{SHORT_CODE}"',
            f'private_key = "{where}/merchant.key"',
            f'public_key = "{where}/telebirr.pub"',
            f'padding = "{padding}"',
            f'url = "{emulator.url}"',
            f'checkout_url = "{emulator.checkout_url}"',
        )
    )


def run(args: argparse.Namespace) -> int:
    return loop.run(_emulate(args))


async def _emulate(args: argparse.Namespace) -> int:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    emulator = Emulator(
        account(args.folder, args.padding),
        token_life_s=args.token_life,
        times=args.times,
        auto_pay_s=args.pay_after,
    )
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(emulator.stop)
        await emulator.start(port=args.port)
        print(settings(args.folder, emulator, args.padding), flush=True)
        print(f"# its state and faults: curl {emulator.base}/control", flush=True)
        await ended.wait()
    return 0
