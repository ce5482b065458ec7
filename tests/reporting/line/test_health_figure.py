"""The days of a line as a drawing in a page, and as a picture for an alert."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.inference.records.made_up import made_records
from tests.inference.records.test_health import NORMALS
from uad_orchestrator.inference.records.health import DayOfRecords, LineHealth, health_of
from uad_orchestrator.reporting.line.health_figure import line_figures, line_picture
from uad_orchestrator.reporting.pictures.svg import PRIMARY


@pytest.fixture(scope="module")
def days() -> list[LineHealth]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(1, 8):
        day = f"2026-11-{number:02d}"
        records = list(made_records(day, rng.random(60) * (1 + number / 10), threshold=0.97, review=0.9))
        of_day = DayOfRecords.of("line7/housing", "patchcore", day, "", "", records if number != 3 else [])
        found.append(health_of(of_day, NORMALS))
    return found


def test_the_figures_are_charts_with_words_for_those_who_do_not_see_them(days: list[LineHealth]) -> None:
    titles, charts = zip(*line_figures(days, "line-1"), strict=True)
    assert titles[0] == "The line: share of parts"
    drawn = [ElementTree.fromstring(chart) for chart in charts]
    assert all("2026-11-01 to 2026-11-07" in chart.get("aria-label", "") for chart in drawn)
    parts = [element for chart in drawn for element in chart.iter()]
    texts = {text for element in parts if (text := (element.text or "").strip())}
    assert {"rejected", "promised", "in review", "score", "half", "95 %", "days before 2026-11-07"} <= texts
    assert line_figures(days, "line-1") == line_figures(days, "line-1")
    ids = [element.get("id") for element in parts if element.get("id")]
    assert len(ids) == len(set(ids)) == 3, "what clips one chart clips no other"


@pytest.mark.parametrize("part", [slice(0, 1), slice(2, 3)], ids=["one day", "a day without parts"])
def test_few_days_are_drawn(days: list[LineHealth], part: slice) -> None:
    assert line_picture(days[part], 0.5)
    for _, chart in line_figures(days[part], "few"):
        ElementTree.fromstring(chart)


def test_a_day_alone_is_seen(days: list[LineHealth]) -> None:
    chart = ElementTree.fromstring(line_figures(days[:1], "one")[0][1])
    assert PRIMARY in [path.get("stroke") for path in chart.iter() if path.get("fill") == "none"]


def test_the_picture_is_a_png_of_some_size(days: list[LineHealth]) -> None:
    content = line_picture(days, distance=0.5)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    assert image.format is None and image.width > 600
    assert len(content) < 200_000
    assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 50, "something is drawn"
