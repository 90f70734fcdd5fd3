"""What a swarm is worth: the same held-out tasks for the base, each specialist, and every way to put them together."""
