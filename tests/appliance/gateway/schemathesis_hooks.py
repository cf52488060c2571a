"""What the document cannot say of a valid request: whose numbers are mobile, which template exists, which
Idempotency-Key was used. schemathesis is told here, so that what it calls valid is, and reaches the code
behind the checks. Requests that are meant to be wrong are left as they are."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import strategies as st

# As people write them; which of them are mobile numbers is the numbering plan's, not the schema's.
_NUMBERS = st.one_of(
    st.integers(910_000_000, 999_999_999).map(lambda number: f"+251{number}"),
    st.integers(710_000_000, 719_999_999).map(lambda number: f"0{number}"),
    st.just("+254712345678"),
)
_NOW = datetime.now(UTC)
_TIMES = st.integers(-10_000, 300 * 1440).map(lambda minutes: (_NOW + timedelta(minutes=minutes)).isoformat())
_DAYS = st.integers(1, 60).map(lambda days: (_NOW - timedelta(days=days)).date().isoformat())
_NETWORKS = st.sampled_from(["", "10.0.0.0/8", "127.0.0.0/8 2001:db8::/32"])

for name, strategy in (
    ("mobile-number", _NUMBERS),
    ("date-time", _TIMES),
    ("date", _DAYS),
    ("cidr-list", _NETWORKS),
):
    schemathesis.openapi.format(name, strategy)

_fresh = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make a request that fits the document fit what this box knows, too."""
    _spare_what_is_needed(case)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.query and "until" in case.query:
        case.query["until"] = _NOW.date().isoformat()
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:100]}-{next(_fresh)}"
    if not isinstance(case.body, dict):
        return
    case.body = _whole_numbers(case.body)
    operation = case.operation.definition.raw["operationId"]
    for message in case.body.get("messages", [case.body]):
        if isinstance(message, dict) and message.get("template") is not None:
            message["template"] = "hello"  # the test made it: without places
            message.pop("variables", None)
            message.pop("language", None)
    if operation == "add_campaign":
        case.body["group"] = "all"
    if operation == "put_template":
        places = " ".join(f"{{{name}}}" for name in case.body.get("variables") or ())
        case.body["texts"] = {language: f"x {places}" for language in case.body["texts"]}


def _spare_what_is_needed(case: Any) -> None:
    """Its own key, and the template and group that others lean on, are not for deleting."""
    needed = {"hello", "all", str(case.headers.get("Authorization", "")).partition("_")[2][:10]}
    for name, value in (case.path_parameters or {}).items():
        if value in needed and case.method == "DELETE":
            case.path_parameters[name] = "another"


def _whole_numbers(value: Any) -> Any:
    """5.0 is an integer to JSON Schema; here it is none."""
    if isinstance(value, dict):
        return {key: _whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
