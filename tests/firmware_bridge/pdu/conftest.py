"""Settings of the property tests: the same examples in every run, no deadline on a shared machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("outpost", derandomize=True, deadline=None)
settings.load_profile("outpost")
