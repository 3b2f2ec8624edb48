"""Victims: networks, their training, and zoos of them with a manifest of the truth."""
