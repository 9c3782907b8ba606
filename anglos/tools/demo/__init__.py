"""The demo: real digits on a sphere, one loss beside the other. `python -m anglos demo`."""
