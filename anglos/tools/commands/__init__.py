"""The commands of `anglos`, a file each: `HELP`, `add` (what a parser takes) and `run` (what is done of it)."""
