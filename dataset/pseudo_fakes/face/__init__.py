"""Forged faces made from real clips."""
