"""What `define.check` runs."""
