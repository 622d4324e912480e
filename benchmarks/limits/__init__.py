"""Which limit on requests in flight is best: candidates in simulated time, the winner for real."""
