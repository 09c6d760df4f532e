"""From frames and samples to the features of System A and B, and where they lie on disk."""
