"""From label files to batches: who is in a split, where their features come from, and what a batch holds."""
