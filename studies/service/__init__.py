"""Models behind an HTTP API with keys, budgets and rates: what a provider runs."""
