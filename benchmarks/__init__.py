"""Benchmarks of multi-ffdv. Each figure is compared with decoding alone and with the steps of the published code.

Each module answers one question: its `run` maps a `Setting` to rows. `run.py` runs them all and prints one table.
"""
