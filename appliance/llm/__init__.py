"""The uplink to a language model: the wire forms, the one caller, the service that works off questions."""
