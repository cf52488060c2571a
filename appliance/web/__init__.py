"""The HTTP API and the status page: routes in, services out, no logic of its own."""

from appliance.web.app import make_app
from appliance.web.services import Services, WebSettings

__all__ = ["Services", "WebSettings", "make_app"]
