"""Images that are not like the others by their headers: a grey one among colour images, one of another size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.images.header import Header, size_words

_ODD_SHARE = 5
"""At most one in so many is odd; of more it is how the set is."""


def odd_images(normals: Mapping[str, Header], others: Mapping[str, Header]) -> list[DatasetProblem]:
    """Warnings of images that are not like most normals.

    Args:
        normals: the headers of the training and validation images, by path.
        others: those of the test images. Their sizes are left in peace.

    Returns:
        A warning for each odd one, normals first.
    """
    problems = list(_odd(normals, lambda header: size_words(header.size)))
    problems += _odd(normals, _mode)
    modes = {_mode(header) for header in normals.values()}
    if len(modes) == 1:
        [usual] = modes
        problems += [
            DatasetProblem(path, f"{_mode(header)}; all normals that are fitted are {usual}", "warning")
            for path, header in others.items()
            if _mode(header) != usual
        ]
    return problems


def _odd(headers: Mapping[str, Header], kind: Callable[[Header], str]) -> Iterator[DatasetProblem]:
    """The few that are of another kind than most."""
    kinds = {path: kind(header) for path, header in headers.items()}
    [(usual, count), *_] = Counter(kinds.values()).most_common(1) or [("", 0)]
    few = len(kinds) - count
    if few <= max(1, len(kinds) // _ODD_SHARE) and count > few:
        for path, found in kinds.items():
            if found != usual:
                message = f"{found}; {_of(count, len(kinds))} normals are {usual}: is it one of them?"
                yield DatasetProblem(path, message, "warning")


def _of(count: int, total: int) -> str:
    return f"the other {count}" if count == total - 1 else f"{count} of {total}"


def _mode(header: Header) -> str:
    return f"{'grey' if header.grey else 'colour'}, {header.depth} per channel"
