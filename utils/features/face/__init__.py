"""The face of a clip: detection, tracking, aligned crops, and the features that experts use."""
