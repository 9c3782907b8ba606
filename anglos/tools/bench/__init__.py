"""`python -m anglos bench`: time and memory of a loss in every library that is installed, beside its peers."""
