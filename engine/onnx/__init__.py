"""Detectors as ONNX graphs: export from a checkpoint, and scoring with onnxruntime, without torch."""
