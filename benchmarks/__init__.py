"""How fast each part of multi-ffdv is, against the floor of decoding alone and against the steps of the published code.

One module per question, each a function from a `Setting` to rows; `run.py` runs them and prints one table.
"""
