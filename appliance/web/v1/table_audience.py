"""The operations about the people a client writes to and hears from; the other half of the table."""

from __future__ import annotations

from typing import Final

from appliance.web.v1 import audience
from appliance.web.v1.operation import Operation, Parameter

__all__ = ["AUDIENCE"]

_LIMIT: Final = Parameter("limit", {"type": "integer", "minimum": 1, "maximum": 500}, "how many at most")

AUDIENCE: Final = (
    Operation(
        name="list_received",
        method="GET",
        path="/v1/inbound",
        scope="read",
        tag="inbound",
        about="Texts that came in for you, the newest first. A webhook tells each as message.received.",
        handle=audience.received,
        answers={200: audience.ReceivedList},
        query=(
            Parameter("cursor", {"type": "string", "pattern": r"^in_\d{1,18}$"}, "next of an earlier page"),
            _LIMIT,
        ),
    ),
    Operation(
        name="list_rules",
        method="GET",
        path="/v1/rules",
        scope="read",
        tag="inbound",
        about="Which texts come to you; the operator makes the rules.",
        handle=audience.rules,
        answers={200: audience.RuleList},
    ),
)
