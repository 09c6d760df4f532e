"""Packed features: the arrays of a split in a few memory-mapped files, for training on hundreds of thousands of clips."""
