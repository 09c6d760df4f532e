"""The embedded demo set: talking heads made by program, and forgeries of them, written as real H.264/AAC clips.

Everything is drawn from one seed and nothing is downloaded. `plan` decides what a set holds; `identity`, `speech`,
`canvas`, `face`, `performance` and `render` make what a camera and a microphone would have caught; `forge` and
`resynthesis` falsify it; `delivery` adds noise and encodes once, alike for both classes; `build` writes the data root.
"""
