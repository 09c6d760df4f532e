"""Forged voices made from real audio clips."""
