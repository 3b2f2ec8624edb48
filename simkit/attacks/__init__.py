"""Attacks on training data, one file each."""
