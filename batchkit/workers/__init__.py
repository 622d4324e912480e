"""Requests sent by other processes: one worker object, at home here or behind a pipe."""
