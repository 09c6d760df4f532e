"""Runs: configuration, training, evaluation, prediction, checkpoints, run folders and reports."""
