"""A ledger as one HTML page: `gather` reads it into plain records, `page.render` turns these into the page."""
