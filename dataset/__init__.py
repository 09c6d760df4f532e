"""From label files to batches: the clips of a split, their features, and their samples and batches."""
