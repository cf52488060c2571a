"""The document against the running appliance, by a tool that knows nothing of either but OpenAPI."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp

from appliance.web.v1 import OPERATIONS

ROOT = Path(__file__).parents[3]
EXAMPLES = 15  # of each operation, besides those that every edge of its schema gives
LIMIT_S = 240


async def test_schemathesis_finds_nothing_against_the_running_appliance(box: Any) -> None:
    async with aiohttp.ClientSession() as http:
        await box.start(http)
        box.ask(do="add", name="acme")
        box.ask(do="credit", name="acme", units=10**12)
        box.ask(do="limits", name="acme", per_second=100_000)
        key = box.ask(do="key", name="acme", scopes=["send", "read", "admin"])["key"]
        login = {"Authorization": f"Bearer {key}"}
        # What schemathesis_hooks.py counts on.
        template = {"texts": {"en": "Hello"}}
        async with http.put(f"{box.url}/v1/templates/hello", json=template, headers=login) as made:
            assert made.status == 201
        async with http.put(f"{box.url}/v1/groups/all", headers=login) as made:
            assert made.status == 201
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{box.url}/openapi.json"),
        *("-H", f"Authorization: Bearer {key}", "--seed", "1", "-n", str(EXAMPLES), "--no-color"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(LIMIT_S):
        output, _ = await process.communicate()
    told = output.decode()
    assert process.returncode == 0, told
    assert f"Tested: {len(OPERATIONS)}" in told
