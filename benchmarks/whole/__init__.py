"""The whole command against bare loops and against what else a user would take."""
