"""Triggers of every family: what each does to images, how it is stored, and how a race draws and mutates it."""
