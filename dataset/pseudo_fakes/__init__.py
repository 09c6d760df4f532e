"""Pseudo-fakes: forgeries made from real clips, to train a detector without real-world fakes."""
