"""The face of a clip: detection, tracking, aligned crops, and what the experts see of them."""

from utils.features.face.crops import FaceCrops
from utils.features.face.detector import FaceDetector
from utils.features.face.features import FaceFeatures, describe_faces
from utils.features.face.window import FaceWindow, clip_faces

__all__ = ["FaceCrops", "FaceDetector", "FaceFeatures", "FaceWindow", "clip_faces", "describe_faces"]
