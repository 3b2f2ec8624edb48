"""Detectors. Each takes one access object, whose type states what the detector may use."""
