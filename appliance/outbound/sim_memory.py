"""How each SIM of the box fares: one SimHealth a SIM, whatever modem it is in, kept over a restart."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from appliance.outbound.sim_health import SimHealth
from appliance.store import sim_health
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.sim_health import Kept

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["HasSim", "SimMemory"]

log = logging.getLogger(__name__)

_NEW = SimHealth().kept()


@runtime_checkable
class HasSim(Protocol):
    """A channel that sends by a SIM."""

    sims: SimMemory


class SimMemory:
    """Shared by the channels of a box. Without a store it remembers for this life only."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._known: dict[str, SimHealth] = {}
        self._kept: dict[str, Kept] = {}  # as it is on disk, or about to be
        self._saving: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Read what the life before this one knew; before anything is sent."""
        if self._store is not None:
            self._kept = await self._store.reader.run(sim_health.load)

    def of(self, sim: str, now: float) -> SimHealth:
        """The health of a SIM, by its ICCID."""
        if sim not in self._known:
            self._known[sim] = health = SimHealth()
            health.take_up(self._kept.setdefault(sim, _NEW), now)
        return self._known[sim]

    def note(self, sim: str) -> None:
        """Something happened to a SIM: write down what a restart must not forget, if that has changed."""
        kept = self._known[sim].kept()
        if self._store is not None and kept != self._kept[sim]:
            self._kept[sim] = kept
            task = asyncio.create_task(self._save(self._store, sim, kept), name="save SIM health")
            self._saving.add(task)
            task.add_done_callback(self._saving.discard)

    async def _save(self, store: Store, sim: str, kept: Kept) -> None:
        try:
            await store.writer.run(sim_health.save, sim, kept)
        except StoreClosed:
            pass
        except StoreError as error:  # it holds until the next start all the same
            log.warning("how a SIM fares is not stored: %s", error)
