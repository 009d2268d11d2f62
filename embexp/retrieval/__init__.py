"""Indexes that find passages for queries: exact, approximate, by words, and both together."""
