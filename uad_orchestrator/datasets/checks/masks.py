"""What masks show that cannot be meant: everything, nothing, the background; said before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from uad_orchestrator.datasets.checks.headers import LOSSY
from uad_orchestrator.datasets.checks.remembered import Remember, find_anew
from uad_orchestrator.datasets.manifest import ImageRecord, Manifest
from uad_orchestrator.datasets.problems import DatasetProblem
from uad_orchestrator.images.decode import ImageError, read_mask_values
from uad_orchestrator.images.header import reason_of
from uad_orchestrator.threads import available_threads

_FACTS_VERSION = 2
_LARGE = 0.5


@dataclass(frozen=True)
class MaskFacts:
    """What a mask looks like.

    Attributes:
        covered: share of its pixels that it shows as defect, 0..1.
        border: share of the pixels along its border.
        levels: different values.
        error: why it cannot be read; empty where it can.
    """

    covered: float = 0.0
    border: float = 0.0
    levels: int = 1
    error: str = ""

    @property
    def shows_background(self) -> bool:
        """Whether most of it, and of its border, is shown as defect, though it tells two things apart."""
        return self.covered > _LARGE and self.border > _LARGE and self.levels > 1


def mask_facts(values: np.ndarray) -> MaskFacts:
    """The facts of a mask ``(H, W)`` of any depth.

    >>> mask_facts(np.array([[0, 0, 0], [0, 9, 0], [0, 0, 0]])).levels
    2
    """
    shown = values > 0
    border = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
    return MaskFacts(float(shown.mean()), float(border.mean()), int(np.unique(values).size))


def check_masks(manifest: Manifest, remember: Remember = find_anew) -> list[DatasetProblem]:
    """Decode the masks of a category and name those that cannot be meant.

    Errors: one that cannot be read or holds NaN, one of a normal image that shows a defect, and masks most of which
    show the background. Warnings: one that shows the background among others that do not, one that covers more than
    half of its image, an empty one of a defective image, one of more than two values.

    Args:
        manifest: what ``load_dataset`` gave.
        remember: keeps what was found out about a mask of the same content.

    Returns:
        Errors and warnings, sorted by path.
    """
    masked = [record for record in manifest.test if record.masks]
    masks = {mask.path: mask.digest for record in masked for mask in record.masks}

    def look(path: str) -> MaskFacts:
        file, key = manifest.file(path), f"mask-{_FACTS_VERSION}-{masks[path]}"
        try:
            known = remember(key, lambda: asdict(mask_facts(read_mask_values(file, manifest.reading))))
        except ImageError as error:
            return MaskFacts(error=reason_of(error, file))
        return MaskFacts(**known)

    with ThreadPoolExecutor(available_threads()) as pool:
        facts = dict(zip(masks, pool.map(look, masks), strict=True))
    defective = [record for record in masked if record.label == 1]
    problems = [problem for record in masked for problem in _of_record(record, facts)]
    problems += _inverted([mask.path for record in defective for mask in record.masks], facts)
    return sorted(set(problems), key=lambda problem: problem.path)


def _of_record(record: ImageRecord, facts: Mapping[str, MaskFacts]) -> Iterator[DatasetProblem]:
    """What is wrong with the masks of one image."""
    own = {mask.path: facts[mask.path] for mask in record.masks}
    for path, found in own.items():
        if found.error:
            yield DatasetProblem(path, found.error)
        elif record.label == 0 and found.covered:
            shown = f"shows a defect on {_percent(found.covered)} of {record.path}"
            yield DatasetProblem(path, f"{shown}, which is labelled normal; correct the label or the mask")
        elif found.levels > 2 and not path.lower().endswith(LOSSY):
            message = f"{found.levels} different values; every pixel above 0 counts as defect, soft edges too"
            yield DatasetProblem(path, message, "warning")
    if record.label == 1 and not any(found.covered or found.error for found in own.values()):
        message = f"empty: it shows no defect on {record.path}, which is labelled defective"
        advice = "pixel metrics count all of it as normal; draw the defect, or take the mask away"
        yield DatasetProblem(record.masks[0].path, f"{message}; {advice}", "warning")


def _inverted(paths: list[str], facts: Mapping[str, MaskFacts]) -> Iterator[DatasetProblem]:
    """Masks whose background is shown as defect: errors where most are, since that is how they were saved."""
    read = [path for path in paths if not facts[path].error]
    inverted = {path for path in read if facts[path].shows_background}
    most = 2 * len(inverted) > len(read)
    for path in read:
        covered = facts[path].covered
        if path in inverted:
            message = f"covers {_percent(covered)} of its image and most of its border"
            looks = "it looks inverted" if covered < 1 else "its background is not black (0)"
            advice = f"{looks}; expected the defect white on black; save it so"
            yield DatasetProblem(path, f"{message}: {advice}", "error" if most else "warning")
        elif covered > _LARGE:
            message = f"covers {_percent(covered)} of its image; expected the defect white on black"
            yield DatasetProblem(path, message, "warning")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
