"""The API on both of its fronts: aiohttp alone, and the lean front before it, as shipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

# What the lean front answers itself is tested on both, so that nobody can tell which of them he talks to.
BOTH_FRONTS: Final = ("test_incoming.py", "test_access.py", "test_messages.py", "test_security.py")

MakeServer = Callable[[web.Application], TestServer]


class LeanServer(TestServer):
    """aiohttp's test server, run as the appliance runs its own."""

    async def _make_runner(self, **kwargs: Any) -> web.AppRunner:
        from appliance.web.front import FrontRunner  # only tests of the web need it

        return FrontRunner(self.app, **kwargs)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make_server" in metafunc.fixturenames:
        both = metafunc.definition.path.name in BOTH_FRONTS
        metafunc.parametrize("make_server", ["aiohttp", "lean"] if both else ["lean"], indirect=True)


@pytest.fixture
def make_server(request: pytest.FixtureRequest) -> MakeServer:
    """What makes the test server of an application."""
    return LeanServer if request.param == "lean" else TestServer
