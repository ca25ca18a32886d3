"""Runs what may hang, crash or attack, outside this process."""
