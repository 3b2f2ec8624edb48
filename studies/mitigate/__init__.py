"""Screens inputs with the triggers of a finished scan."""

from studies.mitigate.screening import mitigate

__all__ = ["mitigate"]
