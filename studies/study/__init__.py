"""A study as one TOML file: zoos, services, detectors, budgets, seeds, workers, and where its results are kept."""
