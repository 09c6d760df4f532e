"""Features of a clip. Importing this package registers all features, with one import per file."""

from utils.features import covariance, mel, speech, speech_embedding, utterance, voice, waveform  # noqa: F401  (imported for registration)
from utils.features.face import features as face  # noqa: F401
