"""A study in one TOML file: zoos, services, detectors, budgets, seeds, workers, and the places of its results."""
