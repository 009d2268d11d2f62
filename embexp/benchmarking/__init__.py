"""Retrieval tasks, trec_eval's metrics on them, and whether a difference between two systems is real."""
