"""Breaks tiny experiments on purpose (kill, power loss, full disk, two runs at once) and counts what survives."""
