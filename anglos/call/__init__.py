"""From a call to its plan: what an argument may be, what was given, what comes of it."""
