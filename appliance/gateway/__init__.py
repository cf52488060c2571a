"""The business side: clients, their keys, credits and templates, and what they are told by webhook."""
