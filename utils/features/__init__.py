"""Features of a clip. Importing this package registers all features, with one import per file."""

from utils.features import covariance, mel, speech, speech_embedding, utterance, voice, waveform  # noqa: F401  (the import registers)
from utils.features.face import features as face  # noqa: F401
