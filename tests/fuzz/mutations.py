"""Mutations of media files. Each takes a random generator, a file and another file, and returns the bytes of a new file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.fuzz.structure import Part, parts_of

Mutation = Callable[[np.random.Generator, bytes, bytes], bytes]

HEAD_BYTES = 2048
MARK = b"\xfe"
HEADERS = (
    b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42",
    b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm",
    b"RIFF\xff\xff\xff\x7fAVI LIST",
    b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00",
    b"OggS\x00\x02" + bytes(8),
    b"fLaC\x00\x00\x00\x22",
    b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
    b"\x47\x40\x00\x10\x00\x00\xb0\x0d",
    b"FLV\x01\x05\x00\x00\x00\x09",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
    b"\x00\x00\x01\xba",
    b"GIF89a\xff\xff\xff\xff",
    b"YUV4MPEG2 W64 H64 F25:1\nFRAME\n",
    b"\x00\x00\x00\x01\x67\x64\x00\x1f",
    b"#EXTM3U\n",
    b"<?xml version='1.0'?><MPD>",
)
EXTREMES = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TIME_ATOMS = (b"mvhd", b"tkhd", b"mdhd", b"elst", b"stts", b"ctts", b"stss", b"sidx", b"tfdt")
SIZE_ATOMS = (b"stsz", b"stsc", b"stco", b"stsd", b"avcC", b"esds", b"dref", b"hdlr", b"vmhd", b"trun", b"colr")


def flip_bits(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Flip 1 to 64 bits anywhere."""
    return _flip(rng, data, len(data))


def flip_bits_in_head(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Flip 1 to 64 bits near the start, where most containers describe their streams."""
    return _flip(rng, data, min(len(data), HEAD_BYTES))


def flip_bits_in_tail(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Flip 1 to 64 bits near the end, where MP4 files describe their streams."""
    return _flip(rng, data[::-1], min(len(data), 2 * HEAD_BYTES))[::-1]


def _flip(rng: np.random.Generator, data: bytes, end: int) -> bytes:
    changed = bytearray(data)
    for position in rng.integers(0, max(1, end), 2 ** int(rng.integers(0, 7))):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Keep the start, the end or a middle part."""
    start, end = sorted(int(position) for position in rng.integers(0, len(data) + 1, 2))
    return (data[:end], data[start:], data[start:end])[rng.integers(3)]


def overwrite(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Overwrite a block with zeros, ones, noise, or a block of the other file."""
    length = int(2 ** rng.uniform(2, 14))
    at, source = int(rng.integers(len(data))), int(rng.integers(len(other)))
    block = (bytes(length), b"\xff" * length, rng.bytes(length), other[source : source + length])[rng.integers(4)]
    return data[:at] + block + data[at + len(block) :]


def insert_or_remove(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Insert a block of the other file, or remove a block. All offsets behind it are then wrong."""
    length, at = int(2 ** rng.uniform(0, 12)), int(rng.integers(len(data)))
    return data[:at] + other[:length] + data[at:] if rng.random() < 0.5 else data[:at] + data[at + length :]


def random_header(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Write the header of a random format over the start, or before it, or before noise."""
    header = HEADERS[rng.integers(len(HEADERS))]
    return (header + data[len(header) :], header + data, header + rng.bytes(4096))[rng.integers(3)]


def extreme_numbers(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Write extreme integers at random places near the start or the end."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        width = int(2 ** rng.integers(0, 4))
        near = int(rng.integers(0, min(len(data), 2 * HEAD_BYTES)))
        at = near if rng.random() < 0.5 else max(0, len(data) - near - width)
        value = EXTREMES[rng.integers(len(EXTREMES))] & ((1 << 8 * width) - 1)
        changed[at : at + width] = value.to_bytes(width, "big" if rng.random() < 0.5 else "little")
    return bytes(changed)


def splice(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Join the start of one file and the end of the other, or both whole files."""
    if rng.random() < 0.3:
        return data + other
    return data[: rng.integers(1, len(data) + 1)] + other[rng.integers(len(other)) :]


def swap_parts(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Exchange two atoms, elements, chunks, pages or packets of the file."""
    parts = parts_of(data)
    if len(parts) < 2:
        return flip_bits_in_head(rng, data, data)
    depth = parts[rng.integers(len(parts))].depth
    parts = [part for part in parts if part.depth == depth]
    first, second = sorted((_any(rng, parts), _any(rng, parts)), key=lambda part: part.start)
    if first.end > second.start:
        return _flip(rng, data, len(data))
    middle = data[first.end : second.start]
    swapped = data[second.start : second.end] + middle + data[first.start : first.end]
    return data[: first.start] + swapped + data[second.end :]


def duplicate_or_remove_part(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Repeat a part up to 200 times, or remove it."""
    if not (parts := parts_of(data)):
        return truncate(rng, data, data)
    part = _any(rng, parts)
    body = data[part.start : part.end]
    times = int(rng.choice([0, 0, 2, 3, 200 if len(body) < 5000 else 2]))
    return data[: part.start] + body * times + data[part.end :]


def resize_part(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Write a wrong size into 1 to 3 parts: extreme, random, or off by a few bytes."""
    parts = parts_of(data)
    if not parts:
        return extreme_numbers(rng, data, data)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        part = _any(rng, parts)
        order = "little" if part.little_endian else "big"
        field = slice(part.size_at, part.size_at + part.size_bytes)
        old = int.from_bytes(data[field], order)
        kinds = (EXTREMES[rng.integers(len(EXTREMES))], old + int(rng.integers(-9, 10)), int(rng.integers(1 << 32)))
        value = kinds[rng.integers(3)] & ((1 << 8 * part.size_bytes) - 1)
        changed[field] = value.to_bytes(part.size_bytes, order)
    return bytes(changed)


def transplant_part(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Replace a part with a part of the other file: streams, indices and headers of two clips are mixed."""
    parts, others = parts_of(data), parts_of(other)
    if not parts or not others:
        return splice(rng, data, other)
    part, donor = _any(rng, parts), _any(rng, others)
    return data[: part.start] + other[donor.start : donor.end] + data[part.end :]


def change_times(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Change fields of the atoms that contain times and durations. Other formats: extreme numbers."""
    return _change_fields(rng, data, TIME_ATOMS)


def change_sizes(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """Change fields of the atoms that describe codecs, frame sizes, sample sizes and offsets."""
    return _change_fields(rng, data, SIZE_ATOMS)


def _change_fields(rng: np.random.Generator, data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    atoms = [part for part in parts_of(data) if data[part.start + 4 : part.start + 8] in kinds]
    if not atoms:
        return extreme_numbers(rng, data, data)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        atom = _any(rng, atoms)
        at = int(rng.integers(atom.start + 8, max(atom.start + 9, atom.end - 3)))
        value = EXTREMES[rng.integers(len(EXTREMES))] if rng.random() < 0.5 else int(rng.integers(1 << 32))
        changed[at : at + 4] = value.to_bytes(4, "big")
    return bytes(changed[: len(data)])


def swap_streams(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Exchange the handler types of an MP4's tracks, or the codec tags of a clip."""
    swaps = (
        (b"vide", b"soun"),
        (b"avc1", b"mp4a"),
        (b"V_MPEG4/ISO/AVC", b"A_AAC\0\0\0\0\0\0\0\0\0\0"),
        (b"vids", b"auds"),
    )
    present = [(one, two) for one, two in swaps if one in data or two in data]
    if not present:
        return transplant_part(rng, data, other)
    one, two = present[rng.integers(len(present))]
    return data.replace(one, MARK * len(one)).replace(two, one).replace(MARK * len(one), two)


def several(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Apply two or three other mutations in turn."""
    for _ in range(int(rng.integers(2, 4))):
        name = list(MUTATIONS)[rng.integers(len(MUTATIONS) - 1)]
        data = MUTATIONS[name](rng, data or other, other)
    return data


def _any(rng: np.random.Generator, parts: list[Part]) -> Part:
    return parts[rng.integers(len(parts))]


MUTATIONS: dict[str, Mutation] = {
    function.__name__: function
    for function in (
        flip_bits,
        flip_bits_in_head,
        flip_bits_in_tail,
        truncate,
        overwrite,
        insert_or_remove,
        random_header,
        extreme_numbers,
        splice,
        swap_parts,
        duplicate_or_remove_part,
        resize_part,
        transplant_part,
        change_times,
        change_sizes,
        swap_streams,
        several,
    )
}
"""Name -> mutation. `several` is the last."""
