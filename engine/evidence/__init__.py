"""Evidence about one clip: the observations behind its score, for a person to check.

`engine.detector.Detector.explain` collects it, `engine.report.clip_page` shows it. The modules, in the order of the data flow:

- `types`: the evidence, as plain data;
- `reading`: one decoding pass over the clip, in a worker process: waveform, spectrogram, face crops, histograms;
- `container`, `marks`: facts about the file, and marks of origin such as C2PA;
- `attribution`: where the detector's networks respond, on the face and in the speech;
- `lips`: mouth and loudness over time;
- `limits`: the parts of the clip that were not examined;
- `explain`: runs all of these.
"""
