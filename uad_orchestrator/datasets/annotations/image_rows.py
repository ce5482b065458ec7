"""One image on its way from annotations to a row of the manifest, and what its annotations make of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uad_orchestrator.datasets.annotations.marks import AnnotatedImage, Box, Mark
from uad_orchestrator.datasets.annotations.splits import (
    Placed,
    choose_splits,
    split_of_file_name,
    split_of_folders,
    split_word,
)
from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.datasets.problems import DatasetProblem

_DEFECT_FOLDERS = frozenset(
    (
        "abnormal",
        "anomalous",
        "anomaly",
        "anomalies",
        "bad",
        "defect",
        "defective",
        "defects",
        "faulty",
        "ko",
        "ng",
    )
)

_NO_DEFECT = ("", ".", "..", "good", "normal")
_LONGEST = 120
"""Bytes of a defect type: maps are filed in a folder of its name."""


@dataclass
class ImageRow:
    """An image file with what is said of it; filled in step by step.

    Attributes:
        path: posix, relative to the images' folder.
        annotated: what the annotations say; None where they do not speak of it.
        defect_type: ``good`` for normals.
        split: what it is used for.
        mask: its mask, posix, relative to the folder of the category's masks.
        boxes: where the defects are, if not every annotation of it is a mask.
    """

    path: str
    annotated: AnnotatedImage | None
    defect_type: str = "good"
    split: Split = "test"
    mask: str | None = None
    boxes: list[Box] = field(default_factory=list)

    @property
    def anomalous(self) -> bool:
        """Whether it shows a defect."""
        return self.defect_type != "good"

    def to_json(self, folder: str, masks: str, category: str) -> dict[str, Any]:
        """Its row; ``folder`` and ``masks`` are put before its path and its mask's."""
        row: dict[str, Any] = {
            "image_path": f"{folder}{self.path}",
            "category": category,
            "split": self.split,
            "label": int(self.anomalous),
            "defect_type": self.defect_type,
        }
        if self.mask is not None:
            row["mask_path"] = [f"{masks}{self.mask}"]
        if self.boxes:
            row["boxes"] = [[box.left, box.top, box.width, box.height] for box in self.boxes]
        if self.annotated and self.annotated.group:
            row["group_id"] = self.annotated.group
        return row


def problem(about: AnnotatedImage, message: str, mark: Mark | None = None) -> DatasetProblem:
    """A fault of what is said of an image: annotation file, entry, image."""
    entry = ", ".join(part for part in (about.entry, mark and mark.entry, Path(about.file).name) if part)
    return DatasetProblem(about.source.as_posix(), f"{entry}: {message}")


def name_defects(
    rows: Sequence[ImageRow], normal: AbstractSet[str], problems: list[DatasetProblem], notes: list[str]
) -> None:
    """Each image's defect type: the word of its annotations, or ``combined``.

    Without annotations an image in a folder that is named for defects is defective, of that name.
    """
    words: dict[str, set[str]] = {}
    for row in rows:
        for mark in row.annotated.marks if row.annotated else ():
            if is_normal(mark, normal):
                continue
            word = re.sub(r"[/\\\x00-\x1f\x7f]", "_", mark.word.strip())
            if row.annotated and (
                word.lower() in _NO_DEFECT or len(word.encode(errors="replace")) > _LONGEST
            ):
                problems.append(
                    problem(row.annotated, f"the category {mark.word!r:.60} cannot name a defect", mark)
                )
            words.setdefault(row.path, set()).add(word)
    folders = {word.lower() for found in words.values() for word in found} | _DEFECT_FOLDERS
    unmarked = 0
    for row in rows:
        found, parent = words.get(row.path, set()), f"/{row.path}".split("/")[-2]
        if found:
            row.defect_type = found.pop() if len(found) == 1 else "combined"
        elif not (row.annotated and row.annotated.marks) and parent.lower() in folders - normal:
            row.defect_type = parent
            unmarked += 1
    if unmarked:
        notes.append(
            f"{unmarked} images without annotations lie in folders named for defects: defective, no mask"
        )


def is_normal(mark: Mark, normal: AbstractSet[str]) -> bool:
    """Whether an annotation says that all is well."""
    return mark.word.strip().lower() in normal


def set_splits(
    rows: Sequence[ImageRow],
    problems: list[DatasetProblem],
    notes: list[str],
    *,
    train: Iterable[str],
    train_share: float,
) -> None:
    """Each image's split: as its annotation says, else its folders, else the annotation file's name."""
    placed = []
    for row in rows:
        about, said = row.annotated, split_of_folders(row.path)
        if about and about.split:
            said = split_word(about.split)
            if said is None:
                problems.append(problem(about, f"split {about.split!r}; expected train, validation or test"))
        elif about and said is None:
            said = split_of_file_name(about.source.stem)
        placed.append(Placed(row.path, row.anomalous, said, about.group if about else None))
    splits, decided = choose_splits(placed, train=train, train_share=train_share)
    notes += decided
    for row in rows:
        row.split = splits[row.path]
    if not any(row.split == "train" for row in rows):
        message = (
            "no normal image to fit on; --images says where they lie, --normal which categories mean normal"
        )
        problems.append(DatasetProblem(".", message))


def counts_of(rows: Iterable[ImageRow]) -> Mapping[tuple[Split, str], int]:
    """How many images there are by split and defect type."""
    counts: dict[tuple[Split, str], int] = {}
    for row in rows:
        counts[row.split, row.defect_type] = counts.get((row.split, row.defect_type), 0) + 1
    return counts
