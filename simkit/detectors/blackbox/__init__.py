"""Black-box detectors, which query an oracle and see no weights."""
