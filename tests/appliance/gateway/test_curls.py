"""Every curl of docs/gateway.md is run against the API, as a customer would paste it."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from appliance.gateway.keys import key_id
from appliance.store import webhooks

PAGE = Path(__file__).parents[3] / "docs" / "gateway.md"


def curls() -> list[str]:
    """The commands of the page's shell examples, each with its further lines."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL):
        text = block.replace("\\\n", " ")
        # A body may go over several lines: up to the quote that ends it.
        found += re.findall(r"(?m)^curl (?:[^\n'\"#]|'[^']*'|\"[^\"]*\")*", text)
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_every_curl_of_the_page_works_in_its_order(office: Any, tmp_path: Path) -> None:
    client, key = await office.client("acme")
    office.gateway.private_webhooks = True
    base = str(office.http.make_url("")).rstrip("/")
    # What the examples speak of: message 17 of term's parents, a key that may be given up, an event that was.
    template = {"texts": {"en": "School begins"}}
    await office.call("PUT", "/v1/templates/term", key, json=template)
    await office.call("POST", "/v1/webhooks", key, json={"url": "https://example.org/first"})
    await office.write(webhooks.emit, client.id, "message.sent", {"id": "out_1"}, "a", office.now_ms)
    spare = await office.key(client, "read")
    for number in range(17):
        body = {"to": "0911234567", "text": f"{number}"}
        await office.call("POST", "/v1/messages", key, json=body, idem=f"before{number}")
    commands = curls()
    assert len(commands) > 40
    commands = [each for each in commands if "/ussd" not in each]  # this box has no modem
    deletes = [each for each in commands if "-X DELETE" in each]
    failed = []
    for command in [each for each in commands if each not in deletes] + deletes:
        shell = command.replace("http://127.0.0.1:8080", base).replace("ab12cd34ef", key_id(spare) or "")
        script = f"""
            KEY='{key}'; API={base}/v1
            AUTH="Authorization: Bearer $KEY"; JSON="Content-Type: application/json"
            cd {tmp_path}; {shell} --silent --show-error --output answer --write-out '%{{http_code}}'
        """
        if ">" in shell:  # the one that makes a file
            script = script.replace("--output answer", "")
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output = (await process.communicate())[0].decode()
        if process.returncode or not re.match(r"2\d\d|\Z", output):
            failed.append((command, output, (tmp_path / "answer").read_text()))
    assert failed == []
