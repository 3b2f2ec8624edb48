"""Importers of other tools' result files, which give weights and the truth about them."""
