"""The embedded demo set: synthetic talking heads and forgeries of them, written as H.264/AAC clips.

All content is generated from one seed; nothing is downloaded. `plan` chooses the clips. `identity`, `speech`,
`canvas`, `head`, `performance` and `render` generate the raw frames and audio. `forge` and `resynthesis` create the fakes.
`delivery` adds noise and encodes each clip once, with the same settings for both classes. `build` writes the data root.
"""
