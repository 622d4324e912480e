"""Compares answers with gold values: what is right, how sure that is, and which run is better."""
