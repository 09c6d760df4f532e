"""Media files: reading and writing of clips through PyAV (libav)."""
