"""The report of a whole study: a page and its figures, made from the study file, result lines and ledgers only."""
