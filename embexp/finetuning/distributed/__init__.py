"""Training in several processes: rank 0 runs the training, workers compute their share of each gradient."""
