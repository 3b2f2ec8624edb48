"""A whole study as one page and its figures: rebuilt from the study file, its lines and its ledgers, asking nothing."""
