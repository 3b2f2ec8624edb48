"""Poisoning attacks on training data, one file per attack."""
