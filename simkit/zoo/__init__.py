"""Victim models: networks, their training, and zoos of them with a manifest of the ground truth."""
