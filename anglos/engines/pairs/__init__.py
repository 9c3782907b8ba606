"""Engine 2: losses over pairs of vectors."""
