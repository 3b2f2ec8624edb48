"""The console: pages on which a provider looks at its callers, and ends, pardons or tops up their keys."""
