"""Where Hydra discovers embexp's sweeper, which is implemented in ``embexp.sweeper``."""
