"""A ledger as one HTML file: `gather` reads it into plain records, `render` writes them as a page."""
