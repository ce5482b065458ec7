"""Images and masks that lie beside the folders of classes they belong into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from uad_orchestrator.datasets.scan import Scan, is_image_name
from uad_orchestrator.spelling import how_many

NAMED = 3
"""Of many loose files, how many are named."""


def refuse_loose(
    scan: Scan, folder: str, names: Iterable[str], what: Literal["image", "mask"], expected: str
) -> None:
    """Note the images among a folder's files, all of them as one fault.

    Args:
        scan: takes the fault.
        folder: relative to the root; it has folders of classes.
        names: of the files in it.
        what: they are.
        expected: the folder below in which they would be read.
    """
    loose = [name for name in names if is_image_name(name)]
    if not loose:
        return
    counted = f"{'an' if what == 'image' else 'a'} {what}"
    if len(loose) > 1:
        more = ", ..." if len(loose) > NAMED else ""
        counted = f"{how_many(len(loose), what)} ({', '.join(loose[:NAMED])}{more})"
    place = f"{folder}/{expected}/{loose[0]}"
    scan.complain(f"{folder}/{loose[0]}", f"{counted} outside the classes; expected {place}")
