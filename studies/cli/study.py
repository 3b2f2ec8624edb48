"""`simkit study`: run detectors over whole zoos. Each command has its own file, `study_COMMAND.py`, and a line here."""

from __future__ import annotations

import typer

from studies.cli import (
    study_budget,
    study_gallery,
    study_leaderboard,
    study_new,
    study_report,
    study_run,
    study_scan,
    study_table,
    study_tune,
    study_watch,
)
from studies.cli.help import Commands

app = typer.Typer(cls=Commands, help="Scan whole zoos, and compare detectors.", no_args_is_help=True)
app.command("new")(study_new.new_study)
app.command("run")(study_run.run_study)
app.command("status")(study_run.show_status)
app.command("schema")(study_new.print_schema)
app.command("scan")(study_scan.scan_zoo)
app.command("table")(study_table.show_table)
app.command("leaderboard")(study_leaderboard.show_leaderboard)
app.command("budget")(study_budget.show_budget)
app.command("tune")(study_tune.tune_study)
app.command("watch")(study_watch.watch_study)
app.command("gallery")(study_gallery.write_gallery)
app.command("report")(study_report.report_study)


@app.callback()
def _group() -> None:
    """Scan whole zoos, and compare detectors."""  # the callback keeps this a group even with a single command
