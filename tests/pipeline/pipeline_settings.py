"""Options that make a run small enough for a test."""

TINY = [
    "model=tiny",
    "trainer.max_tokens=64",
    "trainer.batch_size=8",
    "trainer.evaluations=2",
    "split.max_dev=12",
    "split.max_test=20",
]
