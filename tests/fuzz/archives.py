"""Mutations of archives and arrays: checkpoints, `.npz`, `.npy` and `.jpg` files of features."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from tests.fuzz.mutations import MUTATIONS

HUGE = 1 << 40


class Harmful:
    """An object whose unpickling creates a file."""

    def __reduce__(self) -> tuple:
        """Return a call that creates a file in the working directory."""
        return os.mknod, ("unpickled",)


def mutate_bytes(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Return the name of a mutation and the mutated bytes."""
    names = (
        "flip_bits",
        "flip_bits_in_head",
        "flip_bits_in_tail",
        "truncate",
        "overwrite",
        "extreme_numbers",
        "splice",
    )
    name = names[rng.integers(len(names))]
    return name, MUTATIONS[name](rng, data, other)


def mutate_archive(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Change a member of a zip archive: its bytes, its name, its compression; or remove or repeat it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(part.filename, archive.read(part)) for part in archive.infolist()]
    at = int(rng.integers(len(members)))
    if rng.random() < 0.4:
        at = next((index for index, (name, _) in enumerate(members) if name.endswith("data.pkl")), at)
    name, body = members[at]
    kind = ("bytes", "bytes", "remove", "repeat", "rename", "compress", "bomb", "pickle")[rng.integers(8)]
    if kind == "bytes":
        members[at] = name, MUTATIONS["flip_bits"](rng, body or b"\0", body)
    elif kind == "remove":
        del members[at]
    elif kind == "repeat":
        members.append((name, body[::-1]))
    elif kind == "rename":
        members[at] = "../" + name, body
    elif kind == "bomb":
        members[at] = name, bytes(200_000_000)
    elif kind == "pickle":
        members[at] = name, pickle.dumps(Harmful())
    compression = zipfile.ZIP_DEFLATED if kind in ("compress", "bomb") else zipfile.ZIP_STORED
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression, compresslevel=1) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return f"archive: {kind}", target.getvalue()


def mutate_checkpoint(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Change bytes, archive members or the content of a checkpoint."""
    kind = rng.integers(4)
    if kind == 0:
        return mutate_bytes(rng, data, other)
    if kind == 1:
        return mutate_archive(rng, data, other)
    content = torch.load(io.BytesIO(data), weights_only=True)
    for _ in range(int(rng.integers(1, 3))):
        change_content(rng, content)
    target = io.BytesIO()
    torch.save(content, target)
    return "content", target.getvalue()


def change_content(rng: np.random.Generator, content: dict[str, Any]) -> None:
    """Replace a value somewhere in nested mappings with one of another type, size or shape."""
    level: dict[str, Any] = content
    while True:
        name = list(level)[rng.integers(len(level))]
        if not isinstance(level[name], dict) or not level[name] or rng.random() < 0.1:
            break
        level = level[name]
    value = level[name]
    if isinstance(value, torch.Tensor) and rng.random() < 0.8:
        level[name] = changed_tensor(rng, value)
    elif rng.random() < 0.15:
        level[str(name) + "x"] = level.pop(name)
    else:
        values = (None, -1, 1 << 70, float("nan"), float("-inf"), "", "x" * 100_000, [], {}, [[[]]], True, "../../x")
        level[name] = values[rng.integers(len(values))]


def changed_tensor(rng: np.random.Generator, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with another shape, type, layout or with numbers that are not finite."""
    kind = rng.integers(8)
    if kind == 0:
        return torch.zeros(1).expand(1 << 34)
    if kind == 1:
        return tensor.flatten()[: max(0, tensor.numel() - 1)].clone()
    if kind == 2:
        return tensor.to(torch.complex64) if tensor.is_floating_point() else tensor.to(torch.float64)
    if kind == 3:
        return torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (HUGE,))
    if kind == 4:
        return torch.full_like(tensor, float("nan") if tensor.is_floating_point() else -1)
    if kind == 5:
        return (tensor.float() * 1e30).to(tensor.dtype)
    if kind == 6:
        return torch.empty((0, *tensor.shape), dtype=tensor.dtype)
    return tensor[None].clone()


def mutate_feature(rng: np.random.Generator, path: Path, other: bytes) -> tuple[str, bytes]:
    """Change a stored feature: its bytes, or replace it with a bomb of its format."""
    data = path.read_bytes()
    if rng.random() < 0.7:
        return (
            mutate_archive(rng, data, other)
            if path.suffix == ".npz" and rng.random() < 0.3
            else mutate_bytes(rng, data, other)
        )
    if path.suffix == ".jpg":
        return "jpg: huge size", jpg_of_declared_size(int(rng.integers(20_000, 65_500)))
    if path.suffix == ".wav":
        return "wav: huge size", data[:40] + b"\xf0\xff\xff\xff" + data[44:]
    kinds = {
        "npy: huge shape": npy_of_declared_shape((HUGE,)),
        "npy: large shape": npy_of_declared_shape((30_000, 30_000)),
        "npy: negative shape": npy_of_declared_shape((-5, 7)),
        "npy: object": npy_with_pickle(),
        "npy: other type": npy_bytes(np.zeros((16, 16), np.complex128)),
        "npy: text": npy_bytes(np.array(["x" * 1000] * 100)),
        "npz: bomb": npz_bomb(),
    }
    name = list(kinds)[rng.integers(len(kinds))]
    return name, kinds[name]


def npy_bytes(array: np.ndarray) -> bytes:
    """Return an array as a `.npy` file."""
    target = io.BytesIO()
    np.save(target, array, allow_pickle=False)
    return target.getvalue()


def npy_of_declared_shape(shape: tuple[int, ...]) -> bytes:
    """Return a `.npy` file of a few numbers whose header declares another shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


def npy_with_pickle() -> bytes:
    """Return a `.npy` file of objects, whose loading would run code."""
    target = io.BytesIO()
    np.save(target, np.array([Harmful()], dtype=object), allow_pickle=True)
    return target.getvalue()


def npz_bomb(names: tuple[str, ...] = ("pairs", "mouth", "start_s", "motion"), *, blocks: int = 25) -> bytes:
    """Return a compressed `.npz` file whose arrays take 16 MB per block each."""
    array = npy_of_declared_shape((4_000_000 * blocks,))[:-64]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            with archive.open(f"{name}.npy", "w") as member:
                member.write(array)
                for _ in range(blocks):
                    member.write(bytes(16_000_000))
    return target.getvalue()


def jpg_of_declared_size(side_px: int) -> bytes:
    """Return a small JPG whose header declares a square of this size."""
    encoded = cv2.imencode(".jpg", np.full((64, 64), 90, np.uint8))[1].tobytes()
    at = encoded.index(b"\xff\xc0") + 5
    return encoded[:at] + struct.pack(">HH", side_px, side_px) + encoded[at + 4 :]
