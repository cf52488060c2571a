"""What `outpost knowledge` asks of the running appliance: files brought, or what is there."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.control import ControlError, Handler
from appliance.store import knowledge

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["handlers"]


def handlers(store: Store) -> dict[str, Handler]:
    """The op `knowledge`: {"files", "dry_run"}; without files it tells [source, language, entries]."""

    async def op(request: dict[str, Any]) -> dict[str, Any]:
        paths = [Path(str(each)) for each in request.get("files", ())]
        if not paths:
            there = await store.reader.run(knowledge.entries)
            counts = Counter((entry.source, entry.language) for entry in there)
            return {"there": [[*key, count] for key, count in sorted(counts.items())]}
        try:
            plan = await asyncio.to_thread(knowledge.read_files, paths)
        except knowledge.KnowledgeErrors as errors:
            return {"errors": errors.lines}
        except OSError as error:
            raise ControlError(f"{error.filename}: {error.strerror}") from error
        work = functools.partial(knowledge.bring, plan=plan, dry_run=bool(request.get("dry_run")))
        changed, gone, count = await store.writer.run(work)
        return {"changed": changed, "gone": gone, "count": count}

    return {"knowledge": op}
