"""Forgeries made from real clips alone, so that a detector can be trained where no fake is at hand."""
