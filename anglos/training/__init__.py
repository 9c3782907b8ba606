"""What stands around a loss in training."""
