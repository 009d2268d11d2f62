"""What runs did, kept where people can compare them: MLflow, or nothing at all."""
