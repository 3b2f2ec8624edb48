"""Detectors over whole zoos: one ledger a scan, one line of results a scan, many processes."""
