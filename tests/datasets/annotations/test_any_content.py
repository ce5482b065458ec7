"""Files of any content are imported, or their faults are named: never a traceback, never a file half written."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.datasets.annotations.files import HEIGHT, WIDTH, run, write_json, write_pictures
from uad_orchestrator.datasets.annotations import READERS
from uad_orchestrator.datasets.problems import DatasetError

pytest.importorskip("pycocotools", reason="needs the import extra")

COCO: dict[str, Any] = {
    "images": [{"id": 0, "file_name": "bad.png", "height": HEIGHT, "width": WIDTH}],
    "categories": [{"id": 1, "name": "scratch"}],
    "annotations": [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 1,
            "segmentation": [[5, 5, 25, 6, 10, 22]],
            "bbox": [1, 2, 3, 4],
        },
        {
            "id": 1,
            "image_id": 0,
            "category_id": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [1, 9, 1190]},
        },
    ],
}
LABELME: dict[str, Any] = {
    "imagePath": "bad.png",
    "imageHeight": HEIGHT,
    "imageWidth": WIDTH,
    "flags": {"scratch": True},
    "shapes": [
        {"label": "dent", "shape_type": "polygon", "points": [[5, 5], [25, 6], [10, 22]]},
        {"label": "dent", "shape_type": "mask", "points": [[5, 5], [25, 6]], "mask": "iVBORw0KGgo="},
    ],
}
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("content")
    write_pictures(folder, "train/a.png", "test/bad.png")
    return folder


def places(values: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in a document."""
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    return [place, *(found for key, value in items for found in places(value, (*place, key)))]


def changed(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return document


def imported_or_refused(kind: str, root: Path) -> None:
    try:
        run(kind, root, replace=True)
    except DatasetError as error:
        assert str(error)
    assert not list(root.rglob(".*")), "nothing half written is left"


@pytest.mark.parametrize(("kind", "document"), [("coco", COCO), ("labelme", LABELME)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_json_with_any_value_anywhere(root: Path, kind: str, document: Any, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(document)))
    file = write_json(root / "test" / "bad.json", changed(document, place, data.draw(anything)))
    try:
        imported_or_refused(kind, root)
    finally:
        file.unlink()


@pytest.mark.parametrize("kind", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.text("0123456789.- \n,x", max_size=60)
)
def test_text_of_any_kind(root: Path, kind: str, text: str) -> None:
    suffix = {"yolo": ".txt", "voc": ".xml", "csv": ".csv"}.get(kind, ".json")
    header = "image,label,xmin,ymin,xmax,ymax,polygon\ntest/bad.png,dent," if kind == "csv" else ""
    file = root / "test" / f"bad{suffix}"
    file.write_text(header + text)
    try:
        imported_or_refused(kind, root)
    finally:
        file.unlink()
