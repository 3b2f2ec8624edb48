"""The help page of a group of commands."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_WHOLE = 1_000
"""More characters than a sentence has."""


class Commands(TyperGroup):
    """A group whose help page states the whole first sentence of each command, which typer cuts at the line's end."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a row for each command."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
