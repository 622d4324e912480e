"""Which limit on requests in flight is best: candidates against simulated accounts, in simulated time."""
