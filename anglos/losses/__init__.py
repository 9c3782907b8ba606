"""One loss per file, named after it."""
