"""One module per command: its words, and what it does once they are understood.

A module has `add_to(commands)`, which adds its parser, and is named in `cli.COMMANDS`. All of them
are imported for `--help`, so each imports what is heavy only when its command runs.
"""
