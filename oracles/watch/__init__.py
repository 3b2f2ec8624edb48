"""Detectors of probing: queries in, scores out; and what a service does after an alarm."""
