"""Data, fine-tuning, benchmark and conclusion, in that order, each from the cache where it can be."""
