"""Fine-tuning: losses, training rows, negatives, batches, and a trainer that can be killed and resumed."""
