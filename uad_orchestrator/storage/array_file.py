"""Named arrays in one ``.npz`` file, or one alone in ``.npy``, without pickle: what is read back never runs code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

_ATTEMPTS = 5


def write_arrays(
    target: Path | IO[bytes], arrays: Mapping[str, np.ndarray], *, compress: bool = False
) -> None:
    """Write arrays of numbers or texts under their names.

    Args:
        target: the file, or its path, which should end in ``.npz``.
        arrays: of any shape and any dtype but object.
        compress: deflate them.

    Raises:
        ValueError: an array holds Python objects; nothing is written.
    """
    # Checked here: savez of NumPy before 2.1 would store ``allow_pickle`` as an array of that name.
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(
                f"array {name!r} holds Python objects, which only pickle could store: give it a dtype"
            )
    write = np.savez_compressed if compress else np.savez
    write(target, **dict(arrays))  # type: ignore[arg-type]  # its keyword arguments are arrays, not flags


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what ``write_arrays`` wrote.

    Raises:
        ValueError: the file holds pickled objects.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read(path)
        except (
            SystemError
        ):  # Python 3.11's parser, which reads an array's header, counts wrongly in several threads
            continue
    return _read(path)


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def read_array(path: Path) -> np.ndarray:
    """Read what ``np.save`` wrote, in a third of ``np.load``'s time for small arrays: equal headers are parsed once.

    Returns:
        The array; it cannot be written to.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no array, is cut short, or holds pickled objects.
    """
    data = path.read_bytes()
    start = _HEADER + int.from_bytes(data[_HEADER - 2 : _HEADER], "little")
    header = _header(data[:start])
    if header.dtype.hasobject:
        raise ValueError(f"{path} holds Python objects, which only pickle could read")
    array = np.frombuffer(data, header.dtype, offset=start)
    return array.reshape(header.shape, order="F" if header.in_columns else "C")


_HEADER = 10
"""Bytes of magic, version and length before a header of version 1."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    in_columns: bool
    dtype: np.dtype


@lru_cache(maxsize=16)
def _header(start: bytes) -> _Header:
    stream = BytesIO(start)
    if (version := np.lib.format.read_magic(stream)) != (1, 0):
        raise ValueError(f"an array file of version {version}, not of (1, 0)")
    return _Header(*np.lib.format.read_array_header_1_0(stream))
