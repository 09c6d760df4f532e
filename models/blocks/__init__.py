"""Modules and helpers shared by the detectors."""
