"""Where the networks of a detector respond: cells of the face, parts of the speech, cells of the mel-spectrogram image.

It needs the torch form of a detector. Experts are recognised by their inputs and parts, not by their names.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dataset.batch import Batch, Modality
from dataset.samples import InputLayout
from engine.evidence.faces import FaceMap
from engine.evidence.reading import ClipReading
from engine.evidence.types import Saliency
from models.base import DetectorModel
from models.blocks.speech_texture import BINS_LEFT, CHANNELS
from models.experts.face import FaceExpert
from models.experts.synthetic_speech import SyntheticSpeechExpert
from utils.features.spectra import hz_to_mel, mel_to_hz
from utils.features.utterance import UTTERANCE_S, UTTERANCE_SAMPLES, utterance_starts, utterances
from utils.features.voice import VOICE_RATE_HZ, VOICE_SIZE, long_enough, loud_part, voice_waveform

PART_S = 0.25
"""Length of the parts of an utterance whose effect is measured."""

MEL_PARTS, MEL_BANDS = 24, 8
"""Number of columns and rows in which the mel-spectrogram image is hidden, one at a time."""

VIEWS_PER_BATCH = 8

LEAST_EFFECT = 0.02
"""Smaller effects are not shown: far from all training examples, the score of an utterance does not depend on its parts."""

SPEECH_BANDS_HZ = (0.0, 2400.0, 4000.0, 5600.0, 8000.0)
"""Edges of the frequency bins of the speech network's last layer. The bins overlap; the edges are halfway between centres."""


def experts_of(model: DetectorModel) -> dict[str, torch.nn.Module]:
    """Return the experts of a model by name; empty for a model without experts."""
    return dict(getattr(model, "experts", {}))


def face_map(pairs: np.ndarray, model: DetectorModel) -> FaceMap | None:
    """Return the output of a model's forgery localizers for pairs of frames; `None` if it has none."""
    found = [expert for expert in experts_of(model).values() if isinstance(expert, FaceExpert)]
    return localised(found[0], pairs) if found else None


@torch.inference_mode()
def localised(expert: FaceExpert, pairs: np.ndarray) -> FaceMap:
    """Return the mean output of an expert's localizers for pairs (P, 2, 112, 112, 3) uint8 RGB."""
    frames = torch.from_numpy(pairs).to(expert.centre.device)
    results = [net(frames) for net in expert.places]
    heat = torch.stack([patches for patches, _ in results]).mean(dim=0)
    logits = torch.stack([logits for _, logits in results]).mean(dim=0)
    return FaceMap(heat.float().cpu().numpy(), logits.double().cpu().numpy(), float(expert.centre[1]))


def saliency(reading: ClipReading, model: DetectorModel, layout: InputLayout) -> Saliency | None:
    """Return the effect of parts of the audio on the score of a model; `None` if it cannot be attributed to parts."""
    if reading.pcm is None:
        return None
    for name, expert in experts_of(model).items():
        if isinstance(expert, SyntheticSpeechExpert):
            return speech_saliency(name, expert, reading)
    return mel_saliency(reading, model, layout) if "mel" in model.inputs else None


@torch.inference_mode()
def speech_saliency(name: str, expert: SyntheticSpeechExpert, reading: ClipReading) -> Saliency | None:
    """Return the effect of parts of the scored utterances, and of frequency bands, on the evidence of a speech expert.

    The statistics of an utterance are computed again without the steps of the network's last layer that belong to a part; for
    a band, they are replaced by the mean of the examples that the expert was fitted on.
    """
    pcm = reading.pcm
    if pcm is None:
        return None
    waveform = voice_waveform(pcm.samples, pcm.rate_hz)
    if not long_enough(waveform):
        return None
    spoken = utterances(waveform)
    part = loud_part(waveform - waveform.mean())
    first = int(np.flatnonzero(pcm.samples)[0]) / pcm.rate_hz + part.start / VOICE_RATE_HZ + reading.audio_start_s
    starts_s = first + utterance_starts(len(waveform[part])) / VOICE_RATE_HZ
    device = expert.slope.device
    waveforms, voice = (torch.from_numpy(array).to(device) for array in (spoken.waveforms, spoken.voice))
    planes = [expert.texture.planes(one) for one in waveforms.split(1)]
    whole = torch.cat([expert.texture.pooled(one) for one in planes])
    scores = expert.machine(torch.cat([voice, whole], dim=1))
    length_s = min(UTTERANCE_S, len(waveform[part]) / VOICE_RATE_HZ)
    begin, end, effect = [], [], []
    for number, plane in enumerate(planes):
        for low_s, high_s, kept in parts_of(plane, length_s):
            changed = expert.machine(torch.cat([voice[number : number + 1], expert.texture.pooled(kept)], dim=1))
            begin.append(starts_s[number] + low_s)
            end.append(starts_s[number] + high_s)
            effect.append(float(scores[number] - changed[0]) * float(expert.slope) / len(planes))
    bands = band_effects(expert, voice, whole, scores)
    if max(np.abs(effect).max(), np.abs(bands).max()) < LEAST_EFFECT:
        return None
    edges_hz = np.array(SPEECH_BANDS_HZ)
    return Saliency(name, np.array(begin), np.array(end), np.array(effect), edges_hz[:-1], edges_hz[1:], bands)


def parts_of(planes: Tensor, length_s: float) -> list[tuple[float, float, Tensor]]:
    """Return start, end and the remaining steps of planes (1, C, T) for each part of an utterance in turn."""
    steps = planes.shape[2]
    per_second = steps / (UTTERANCE_SAMPLES / VOICE_RATE_HZ)
    count = max(2, round(length_s / PART_S))
    edges = np.linspace(0, length_s * per_second, count + 1).round().astype(int)
    return [
        (low / per_second, high / per_second, torch.cat([planes[:, :, :low], planes[:, :, high:]], dim=2))
        for low, high in zip(edges[:-1], edges[1:], strict=True)
        if low < high
    ]


def band_effects(expert: SyntheticSpeechExpert, voice: Tensor, statistics: Tensor, scores: Tensor) -> np.ndarray:
    """Return the effect of each frequency band of the network's last layer, (`BINS_LEFT`,) in log-odds."""
    centre = expert.machine.centre[VOICE_SIZE:].view(2, CHANNELS[-1], BINS_LEFT)
    effects = []
    for band in range(BINS_LEFT):
        changed = statistics.view(len(statistics), 2, CHANNELS[-1], BINS_LEFT).clone()
        changed[..., band] = centre[..., band]
        without = expert.machine(torch.cat([voice, changed.flatten(1)], dim=1))
        effects.append(float((scores - without).mean() * expert.slope))
    return np.array(effects)


@torch.inference_mode()
def mel_saliency(reading: ClipReading, model: DetectorModel, layout: InputLayout) -> Saliency | None:
    """Return the effect of columns and rows of the mel-spectrogram image on the logit of a model.

    Each is hidden in turn by the mean grey level of its rows. The model's other inputs are absent, so the effect is that of the
    audio alone.
    """
    if reading.audio is None or reading.mel is None or not reading.mel.any():
        return None
    grey = torch.from_numpy(reading.mel)
    size = len(grey)
    row_means = grey.float().mean(dim=1, keepdim=True).round().to(torch.uint8).expand_as(grey)
    mean = grey.float().mean().round().to(torch.uint8).expand_as(grey)
    columns, rows = (np.linspace(0, size, count + 1).round().astype(int) for count in (MEL_PARTS, MEL_BANDS))
    views = [grey]
    for low, high in pairwise(columns):
        views.append(torch.cat([grey[:, :low], row_means[:, low:high], grey[:, high:]], dim=1))
    for low, high in pairwise(rows):
        views.append(torch.cat([grey[:low], mean[low:high], grey[high:]]))
    logits = np.concatenate([mel_logits(model, layout, group) for group in torch.stack(views).split(VIEWS_PER_BATCH)])
    if not np.isfinite(logits).all():
        return None
    effect = logits[0] - logits[1:]
    edges_s = np.linspace(reading.audio.start_s, reading.audio.end_s, MEL_PARTS + 1)
    edges_hz = mel_edges_hz(reading.audio.top_hz, MEL_BANDS)
    return Saliency(
        model.terms[0], edges_s[:-1], edges_s[1:], effect[:MEL_PARTS], edges_hz[:-1], edges_hz[1:], effect[MEL_PARTS:]
    )


def mel_logits(model: DetectorModel, layout: InputLayout, images: Tensor) -> np.ndarray:
    """Return the logits (N,) of mel-spectrogram images (N, H, W) without other inputs; NaN if the model needs those."""
    count, device = len(images), next(model.parameters()).device
    inputs = {}
    for spec in layout.specs:
        empty = spec.fill(None)
        values, mask = (torch.from_numpy(array).expand(count, *array.shape) for array in (empty.values, empty.mask))
        inputs[spec.name] = Modality(values, mask)
    inputs["mel"] = Modality(images[:, None], torch.ones(count, dtype=torch.bool))
    batch = Batch(torch.arange(count), torch.full((count,), torch.nan), inputs).to(device)
    if not model.usable(batch).all():
        return np.full(count, np.nan)
    return model(batch).logit.double().cpu().numpy()


def mel_edges_hz(top_hz: float, bands: int) -> np.ndarray:
    """Return the edges (bands + 1,) of frequency bands that are equally wide on librosa's mel scale from 0 to `top_hz`."""
    return mel_to_hz(np.linspace(0, hz_to_mel(top_hz), bands + 1))
