"""What the inputs show in Dagster's UI, read from their contents: the same for a run and a runless event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.versions.state import Input
from uad_orchestrator.review.judgement import standing
from uad_orchestrator.review.judgement_file import JudgementFile

TABLE_ROWS = 20


def describe_input(found: Input, records: Path | None = None) -> dict[str, Any]:
    """Metadata of an input: its version, counts of what it lists, and its content in short.

    Args:
        found: the input.
        records: the folder that the line is recorded to: of a category, what people judged is shown.
    """
    content = found.content
    shown: dict[str, Any] = {"version": found.version}
    if "images" in content:
        shown |= _describe_images(content["images"])
        if records is not None and found.asset == "dataset_category":
            shown |= _describe_judged(content["images"], JudgementFile(records, found.partition))
    elif "labels" in content:
        shown["dagster/row_count"] = len(content["labels"])
    if labels := _test_labels(content):
        shown |= _describe_labels(labels)
    if "masks" in content:
        shown["masks"] = len(content["masks"])
    if len(shown) == 1:
        name = "weights" if found.asset == "checkpoint" else "settings"
        shown[name] = dg.MetadataValue.json(dict(content))
    return shown


def _describe_images(images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_split = Counter(f"{image['split']}_images" for image in images)
    first = [
        {"image": image["path"], "split": image["split"], "sha256": image["sha256"][:16]}
        for image in images[:TABLE_ROWS]
    ]
    return {"dagster/row_count": len(images), **by_split, **_table("first_images", first)}


def _describe_judged(images: Sequence[Mapping[str, Any]], judgements: JudgementFile) -> dict[str, Any]:
    """The images that are in the category on a person's word; where that cannot be read, why."""
    try:
        judged = judgements.read()
    except OSError as error:
        return {"judged_images": f"{judgements.path} cannot be read: {error}"}
    by_content = {one.judgement.content: one.judgement for one in standing(judged).values()}
    words = [(image["path"], by_content[i]) for image in images if (i := image["sha256"]) in by_content]
    rows = [
        {"image": path, "verdict": said.verdict, "by": said.by, "time": said.time}
        for path, said in words[:TABLE_ROWS]
    ]
    return {"judged_images": len(words), **_table("first_judged", rows)} if rows else {}


def _test_labels(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The rows that say what a test image shows, where the input has them."""
    rows = content.get("labels") or [i for i in content.get("images", ()) if i["split"] == "test"]
    return [row for row in rows if "defect_type" in row]


def _describe_labels(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_type = Counter(label["defect_type"] for label in labels)
    types = [{"defect_type": name, "images": n} for name, n in sorted(by_type.items())]
    return {
        "anomalous_test_images": sum(label["label"] for label in labels),
        **_table("defect_types", types),
    }


def _table(name: str, rows: Sequence[Mapping[str, str | int]]) -> dict[str, Any]:
    """A table, which Dagster takes only with rows in it."""
    return {name: dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])} if rows else {}
