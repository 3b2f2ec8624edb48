"""Attacks of other libraries on any oracle, in process or remote: metered, with their best picture kept."""
