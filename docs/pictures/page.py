"""Take the pictures of the page: page.png, page-phone.png and life.png. `make screenshots` calls it.

A demo runs, a few people text it through the simulated network, and headless Chromium looks at what the
page then shows. Nothing is made up.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
OUT: Final = Path(__file__).parent
# Who texts what, one after the other; each line is one SMS.
TEXTS: Final = (
    ("+251911223344", "BOOK ADIS HAWASSA TOMORROW 2"),
    ("+251922334455", "ነገ ከአዲስ አበባ ባህር ዳር"),
    ("+251711900100", "HELP"),
    ("+251911223344", "YES"),
    ("+251933111222", "bahir dar gonder friday 3"),
)
HANDSET: Final = ("--wait", "30", "--replies", "1")
CHROMIUM: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
SETTLE_S: Final = 12.0  # the last replies and reports are on the air for some seconds each
SHOTS: Final = (
    ("page.png", "/", "1280,1180"),
    ("page-phone.png", "/", "390,1500"),
    ("life.png", "/messages/in/1", "1000,900"),
)


@contextlib.contextmanager
def running_demo(data: str) -> Iterator[str]:
    """A demo with nothing in it yet; gives the page's address."""
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "demo", "--data-dir", data],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            banner = ""
            for line in process.stdout:
                banner += line
                if "Ctrl-C" in line:
                    break
            found = re.search(r"http://[^\s/]+", banner)
            if found is None:
                raise SystemExit(f"the demo did not say where its page is:\n{banner}")
            yield found[0]
        finally:
            process.terminate()


def text(data: str, number: str, words: str) -> None:
    """One SMS from a handset on the simulated network, and its answer."""
    subprocess.run(
        [sys.executable, "-m", "appliance", "handset", "--data-dir", data, "--number", number, *HANDSET],
        cwd=ROOT,
        input=words + "\n",
        text=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )


def shoot(chromium: str, url: str, size: str, target: Path, profile: str) -> None:
    subprocess.run(
        [
            chromium,
            *CHROMIUM,
            f"--user-data-dir={profile}",
            f"--window-size={size}",
            f"--screenshot={target}",
            url,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=90,
        check=True,
    )


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is missing; install it with: sudo apt-get install -y chromium")
    with tempfile.TemporaryDirectory(prefix="outpost-") as folder, running_demo(f"{folder}/data") as base:
        for number, words in TEXTS:
            text(f"{folder}/data", number, words)
        time.sleep(SETTLE_S)
        with urllib.request.urlopen(f"{base}/readyz", timeout=10) as answer:
            answer.read()
        for name, path, size in SHOTS:
            shoot(chromium, base + path, size, OUT / name, f"{folder}/profile")


if __name__ == "__main__":
    main()
