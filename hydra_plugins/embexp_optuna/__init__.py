"""The place where Hydra finds embexp's sweeper; what it does stands in ``embexp.sweeper``."""
