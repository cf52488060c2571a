"""E, the limit of the HTTP figures: an empty aiohttp handler on uvloop, without an access log."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from aiohttp import web

from appliance import loop


async def accept(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=202, body=b'{"id":1}', content_type="application/json")


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_post("/", accept)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    loop.run(main(int(sys.argv[1])))
