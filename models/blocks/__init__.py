"""Plain `nn.Module`s and helpers that detectors are made of."""
