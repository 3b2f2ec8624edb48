"""Settings of a detector, chosen by Optuna on victims of `tune` zoos: a trial is a setting, each of its scans kept."""
