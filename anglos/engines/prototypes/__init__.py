"""Engine 1: losses against class prototypes."""
