"""What is kept: the append-only journal and reports made from it."""
