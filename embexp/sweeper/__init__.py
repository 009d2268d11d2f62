"""Sweeps with Optuna: the space, the study that processes share, the trials, the winner, the report."""
