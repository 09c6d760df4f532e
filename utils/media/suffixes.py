"""Suffixes by which clips are recognised in a folder. A file that is named explicitly may have any suffix."""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    """
    .mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .mpe .m1v .m2v .m2p .mpv .ts .mts .m2ts .tod .mod .vob .wmv .asf .flv .f4v
    .ogv .ogg .ogm .ogx .3gp .3g2 .3gpp .3gpp2 .mxf .qt .rm .rmvb .divx .dv .gif .h264 .264 .h265 .265 .hevc .ivf .obu .mj2
    .mjpeg .mjpg .y4m .nut .lrv .insv .wtv
    """.split()  # noqa: SIM905  (a list of quoted words is harder to read)
)

AUDIO_SUFFIXES = frozenset(
    """
    .wav .wave .flac .mp3 .mp2 .mpga .ogg .oga .opus .spx .m4a .m4b .aac .adts .ac3 .eac3 .wma .aif .aiff .aifc .au .snd .caf
    .amr .awb .ape .wv .tta .mka .weba .w64 .voc
    """.split()  # noqa: SIM905
)
"""Suffixes of files that usually have no video. `.ogg` is also a suffix of videos."""
