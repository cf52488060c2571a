"""Outpost, an SMS server in a box: everything but the modem side, which is `firmware_bridge`."""
