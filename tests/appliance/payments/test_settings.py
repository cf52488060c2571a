from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.conversation.kit import Kit
from appliance.payment_settings import Telebirr
from appliance.payments.emulator import APP_ID, account
from appliance.payments.telebirr.build import make_telebirr
from appliance.payments.telebirr.emulator import Emulator
from appliance.payments.words import PhraseWords

ROOT = Path(__file__).parents[3]


def telebirr(keys: Path, **changes: Any) -> Telebirr:
    filled = {
        "app_id": APP_ID,
        "app_secret": f"file:{keys}/secret",
        "merchant_app_id": "930231098009602",
        "short_code": "101010",
        "private_key": f"{keys}/merchant.key",
        "public_key": f"{keys}/telebirr.pub",
    }
    return Telebirr(**{**filled, **changes})


def build(settings: Telebirr, box: Any) -> Any:
    return make_telebirr(
        settings,
        box.store,
        PhraseWords(Kit({})),
        clock_ms=lambda: box.now_ms,
        offer=box.offered.extend,
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"private_key": "/nowhere.pem"}, "/nowhere.pem: No such file"),
        ({"public_key": "{keys}/merchant.key"}, "want an RSA public key"),
        ({"app_secret": "file:/nowhere"}, "app_secret: /nowhere: No such file"),
        ({"app_secret": None}, "app_secret: missing"),
        ({"ca": "/nowhere.pem"}, "payments.telebirr.ca: /nowhere.pem: No such file"),
    ],
)
async def test_settings_that_cannot_work_say_why_and_hold_no_secret(
    box: Any, keys: Path, changes: dict[str, Any], why: str
) -> None:
    filled = {key: value and value.replace("{keys}", str(keys)) for key, value in changes.items()}
    with pytest.raises(ValueError, match=why) as caught:
        build(telebirr(keys, **filled), box)
    assert "emulated-secret" not in str(caught.value)


@pytest.mark.parametrize("padding", ["pss", "pkcs1"])
async def test_order_is_taken_with_either_padding(box: Any, keys: Path, padding: str) -> None:
    async with Emulator(account(keys, padding), clock=lambda: box.now_ms / 1000) as emulator:
        made = build(telebirr(keys, padding=padding, url=emulator.url), box)
        await box.way.close()
        box.telebirr, box.way = emulator, made
        await box.hold()
        await box.step()
        assert await box.order() == "open"
        assert emulator.violations == []


async def test_order_with_the_other_padding_is_refused(box: Any, keys: Path) -> None:
    async with Emulator(account(keys, "pkcs1"), clock=lambda: box.now_ms / 1000) as emulator:
        await box.way.close()
        box.telebirr, box.way = emulator, build(telebirr(keys, url=emulator.url), box)
        await box.hold()
        await box.step()
        assert await box.order() == "refused"
        assert "verify sign failed" in box.way.state()["trouble"]


def test_box_without_telebirr_does_not_load_the_library_of_its_signatures() -> None:
    code = "import sys, appliance.server; print([m for m in sys.modules if m.startswith('cryptography')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
