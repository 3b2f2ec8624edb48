"""Tunes the settings of a detector with Optuna on victims of `tune` zoos; each trial scans all victims."""
