"""Detectors: each takes one access object, whose type says what it may reach."""
