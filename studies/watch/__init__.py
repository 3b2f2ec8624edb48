"""Detectors of probing against searchers, and against clients that do nothing wrong."""
