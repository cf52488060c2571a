"""The conversations that come with Outpost."""
