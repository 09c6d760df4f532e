"""Scores over time: windows of a clip, suspicious spans, findings and face tracks."""
