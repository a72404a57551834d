"""Experiment trackers: a run's trials as people's own tools show them, offline, by a process beside the run."""
