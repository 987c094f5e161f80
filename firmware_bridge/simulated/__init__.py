"""Physics behind a simulated bus and a simulated guard's pins. Reached only through the composition root."""
