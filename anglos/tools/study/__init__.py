"""The study: which loss verifies best characters that it has never seen. `python -m anglos study`."""
