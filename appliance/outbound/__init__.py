"""The way out: lanes, routes, retries, and the pump that feeds each channel."""
