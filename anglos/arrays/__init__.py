"""What is asked of an array library."""
