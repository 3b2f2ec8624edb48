"""Detectors that have the model itself: the yardsticks for those that only ask."""
