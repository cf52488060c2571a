"""A GSM modem, its SIM and its network, simulated: for demos, load tests, tests and third-party software.

`World` is the whole of it without I/O; `Simulator` puts its modems on ptys and its network on a control
socket.
"""

from __future__ import annotations

from firmware_bridge.simulator.network import NetworkSettings
from firmware_bridge.simulator.service import Simulator, SimulatorThread
from firmware_bridge.simulator.world import ModemSpec, World, default_number

__all__ = ["ModemSpec", "NetworkSettings", "Simulator", "SimulatorThread", "World", "default_number"]
