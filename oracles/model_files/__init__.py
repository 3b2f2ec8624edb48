"""Reads models from files without ever running code that a file contains."""

from oracles.model_files.description import Description, LoadedModel
from oracles.model_files.loading import load_model

__all__ = ["Description", "LoadedModel", "load_model"]
