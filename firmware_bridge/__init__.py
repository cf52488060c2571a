"""Talks to GSM modems: bytes, ports and the 3GPP formats. Knows nothing of the appliance."""
