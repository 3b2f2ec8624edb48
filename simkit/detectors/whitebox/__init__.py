"""White-box detectors, which have the model itself: baselines for the black-box detectors."""
