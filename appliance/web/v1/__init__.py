"""The business API under /v1: a typed table of operations, and what is made of it."""

from appliance.web.v1.operation import add_operations
from appliance.web.v1.table import OPERATIONS

__all__ = ["OPERATIONS", "add_operations"]
