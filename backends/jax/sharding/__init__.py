"""Losses whose classes, or whose batch, are spread over the devices of a mesh."""
