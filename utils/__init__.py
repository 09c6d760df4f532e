"""Commands (one file each) and the lowest layers: media, features, metrics and small leaves."""
