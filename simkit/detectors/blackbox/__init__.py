"""Detectors that ask an oracle and see no weights."""
