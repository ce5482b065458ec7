"""Named arrays in one ``.npz`` file, without pickle: what is read back never runs code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

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
