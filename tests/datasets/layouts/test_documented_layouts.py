"""docs/datasets.md shows a tree of every layout: each is built as it stands there, and read as it says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.datasets.pictures import write_image, write_mask
from uad_orchestrator.datasets.checks.headers import check_category
from uad_orchestrator.datasets.layouts.registry import LAYOUTS
from uad_orchestrator.datasets.load import find_categories, load_dataset
from uad_orchestrator.datasets.manifest import ImageRecord

PAGE = Path(__file__).parents[3] / "docs" / "datasets.md"


@dataclass
class Tree:
    """A listing: what each file is taken for, and the text of those that are shown."""

    layout: str
    files: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)

    def build(self, root: Path) -> None:
        for path, word in self.files.items():
            if word.startswith("mask") or path.endswith("gt/000.png"):
                write_mask(root / path, value=0 if "all zero" in word else 255)
            elif word != "see below":
                write_image(root / path)
        for path, text in self.texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)


def trees() -> list[Tree]:
    found: list[Tree] = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]:
        layout = section.split("\n", 1)[0].strip("`")
        for kind, place, text in re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", section, re.M | re.S):
            if kind == "files":
                lines = (line.split("#") for line in text.splitlines())
                found.append(Tree(layout, {path.strip(): word.strip() for path, word in lines}))
            else:
                found[-1].texts[place] = text
    return found


def said(record: ImageRecord) -> str:
    """What the page says of such an image."""
    if record.split == "train" and record.label == 1:
        return f"train, {record.defect_type}: not fitted"
    if record.split in ("train", "validation"):
        return record.split
    return f"{record.split}, { {0: 'normal', -1: 'no label'}.get(record.label, record.defect_type) }"


def test_the_page_has_every_layout_and_no_other() -> None:
    headings = re.findall(r"^## `(\w+)`$", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(headings) == sorted(LAYOUTS)
    assert {tree.layout for tree in trees()} == set(LAYOUTS) - {"demo"}


@pytest.mark.parametrize("tree", trees(), ids=lambda tree: f"{tree.layout}-{min(tree.files)[:4]}")
def test_a_tree_laid_out_as_shown_is_read_as_said(tree: Tree, tmp_path: Path) -> None:
    tree.build(tmp_path)
    [category] = find_categories(tree.layout, tmp_path)
    manifest = load_dataset(tree.layout, tmp_path, category)
    assert check_category(manifest) == []
    images = {path: word for path, word in tree.files.items() if re.match(r"train|validation|test", word)}
    assert {record.path: said(record) for record in manifest.records} == images
    masks = {mask.path for record in manifest.records for mask in record.masks}
    assert masks == {path for path, word in tree.files.items() if word == "mask"}
    assert set(tree.texts) == {path for path, word in tree.files.items() if word == "see below"}
