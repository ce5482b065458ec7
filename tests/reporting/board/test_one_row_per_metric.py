"""A metric needs its row in the catalogue, and stands in boards, pages, views and marks; nothing else names metrics."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from tests.reporting.cells import report, review, score_rows
from uad_orchestrator.metrics import catalogue
from uad_orchestrator.metrics.catalogue import METRICS, Metric, find, metrics_of
from uad_orchestrator.metrics.report import MetricsReport
from uad_orchestrator.metrics.thresholds.costs import Costs
from uad_orchestrator.orchestration.assets import leaderboard as leaderboard_asset
from uad_orchestrator.orchestration.cells.findings.figure_rules import metrics_kept
from uad_orchestrator.orchestration.versions.stores import open_index, open_store
from uad_orchestrator.project.load import open_project
from uad_orchestrator.reporting import page_templates
from uad_orchestrator.reporting.board import board_text, columns
from uad_orchestrator.reporting.board.board_text import render_leaderboard
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, build_leaderboard
from uad_orchestrator.reporting.board.means import NOT_MEASURED
from uad_orchestrator.reporting.board.row import LeaderboardRow, published_fields
from uad_orchestrator.reporting.html_report import CellSection, write_report

INVENTED = Metric(
    "pixel_error", "pixel error", "pixel", "Share of pixels on the wrong side.", "nobody",
    direction="lower", headline=9,
)  # fmt: skip
ERRORS = {("bottle", "dino"): 0.1, ("bottle", "padim"): 0.3, ("screw", "dino"): 0.2, ("screw", "padim"): 0.1}
NOT_A_METRIC = {
    *(
        "dataset",
        "category",
        "detector",
        "model",
        "status",
        "reason",
        "version",
        "warnings",
        "repeats",
        "repeat_of",
        "std",
    ),
    *("false_positive_rate_from", "n_test_normal", "n_test_anomalous", "n_test_masked"),
    *("image_auroc_interval", "intervals", "within_noise_of", "contamination", "reasons"),
    *("threshold", "review_threshold", "threshold_source", "pixel_threshold", "pixel_threshold_source"),
    *("guaranteed_rate", "false_positive_limit", "pixel_guaranteed_rate", "pixel_false_positive_limit"),
}


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metric]:
    """One row more, after pixel AP."""
    place = next(i for i, metric in enumerate(METRICS) if metric.name == "pixel_f1_max")
    monkeypatch.setattr(catalogue, "METRICS", (*METRICS[:place], INVENTED, *METRICS[place:]))
    remembered = (catalogue.find, catalogue.board_metrics, catalogue._row_of)
    for of in remembered:
        of.cache_clear()
    yield INVENTED
    for of in remembered:
        of.cache_clear()


def measured(category: str, detector: str) -> MetricsReport:
    """A report that has the invented metric."""
    made = report(category, detector)
    return made.model_copy(update={"metrics": made.metrics | {"pixel_error": ERRORS[category, detector]}})


@pytest.fixture
def board(invented: Metric) -> Leaderboard:
    cells = {
        (f"mvtec_ad/{category}", detector): measured(category, detector) for category, detector in ERRORS
    }
    return build_leaderboard({**cells, ("other/nut", "dino"): report("nut", dataset="other")})


def test_it_is_a_field_of_every_row_in_its_place(board: Leaderboard) -> None:
    rows = json.loads(board.to_json())["rows"]
    for row in rows:
        fields = list(row)
        assert fields[fields.index("pixel_ap") + 1 : fields.index("pixel_f1_max")] == ["pixel_error"]
    assert [row["pixel_error"] for row in rows] == [*ERRORS.values(), None]
    assert rows[-1]["reasons"]["pixel_error"] == NOT_MEASURED
    assert Leaderboard.from_json(board.to_json()) == board


def test_it_has_its_place_its_mean_and_its_marks(board: Leaderboard) -> None:
    assert board.metrics == (
        *(
            "image_auroc",
            "image_ap",
            "image_f1_max",
            "pixel_auroc",
            "pixel_ap",
            "pixel_error",
            "pixel_f1_max",
        ),
        *("aupro_0.3", "aupro_0.05"),
    )
    means = {row.detector: row.values["pixel_error"] for row in board.means[0].detectors}
    assert means == pytest.approx({"dino": 0.15, "padim": 0.2})
    best = {key[:2] for key in board.best() if key[2] == "pixel_error"}
    assert best == {("mvtec_ad/bottle", "dino"), ("mvtec_ad/screw", "padim")}, "lower is better"


def test_it_is_a_column_of_every_table(board: Leaderboard, tmp_path: Path) -> None:
    text = render_leaderboard(board, "md")
    assert text.count("| pixel error |") == 2, "cells and means"
    assert "| **0.100** |" in text
    lines = list(csv.DictReader(io.StringIO(render_leaderboard(board, "csv"))))
    assert [line["pixel_error"] for line in lines] == [*map(str, ERRORS.values()), ""]
    wide, narrow = (render_leaderboard(board, "table", width=width) for width in (300, 95))
    for table in (wide, narrow):
        assert "error" in table, "a headline stays where there is little room"
    assert "0.150" in wide

    write_report(tmp_path / "report.html", board, [CellSection(measured("bottle", "dino"), score_rows())])
    page = (tmp_path / "report.html").read_text()
    assert '<option value="pixel_error">pixel error</option>' in page
    assert "<dt>pixel error</dt><dd>Share of pixels on the wrong side.</dd>" in page
    assert '<td class="best">0.150</td>' in page, "the best mean is the lowest"
    assert "<span>pixel error <b>0.100</b></span>" in page
    tints = [page.split(f'data-metric="pixel_error" style="--loss:{tint}%"') for tint in (11, 36)]
    assert [len(parts) - 1 for parts in tints] == [2, 1], "0.3 is tinted more than 0.1"


def test_dagster_shows_it(board: Leaderboard) -> None:
    shown = leaderboard_asset._metadata(board, "")
    (record, *_) = shown["leaderboard"].records  # type: ignore[union-attr]
    assert record.data["pixel_error"] == 0.1
    assert list(record.data).index("pixel_error") == list(record.data).index("false_positive_rate") + 1
    low, high = board.rows[0].intervals["image_auroc"]
    assert record.data["image_auroc_interval"] == f"{low:.3f}–{high:.3f}"
    assert (record.data["test_images"], record.data["pixel_auroc_interval"]) == ("12 + 15", "–")
    means = {
        row.data["detector"]: row.data["pixel_error"]
        for row in shown["means"].records  # type: ignore[union-attr]
        if row.data["dataset"] == "mvtec_ad"
    }
    assert (means["dino"], means["padim"]) == (0.15, 0.2)


def test_sentences_stand_in_a_table_of_their_own_so_that_rows_have_one_height(board: Leaderboard) -> None:
    lost = board.rows[0].model_copy(update={"status": "failed", "reason": "an image cannot be read: " * 9})
    shown = leaderboard_asset._metadata(board.model_copy(update={"rows": (*board.rows, lost)}), "")
    cells, reasons = (shown[name].records for name in ("leaderboard", "reasons"))  # type: ignore[union-attr]
    assert len(cells) == len(board.rows) + 1 and not any("reason" in row.data for row in cells)
    assert [row.data["reason"] for row in reasons][-1] == lost.reason
    assert all(" " not in name for name in shown)


def test_an_event_shows_the_rows_of_a_large_board_that_need_a_look(board: Leaderboard) -> None:
    """Dagster keeps an event whole, and its pages load many: 5,000 rows would be 2 MB each time."""
    row = board.rows[0]
    many = [row.model_copy(update={"category": f"c{n}", "warnings": int(n == 77)}) for n in range(5000)]
    many[4000] = row.model_copy(update={"category": "lost", "status": "failed", "reason": "no such file"})
    warnings = [CellWarning(category="d/c", check="files", message=f"file {n} is odd") for n in range(900)]
    away = {f"d/c{n}": "the root is away" for n in range(201)}
    means = board.means * 70  # three detectors each
    assert sum(len(of.detectors) for of in means) == 210
    large = Leaderboard(rows=tuple(many), means=means, unreachable=away, warnings=tuple(warnings))
    shown = leaderboard_asset._metadata(large, "/store/leaderboard.json")
    records = [record.data for record in shown["leaderboard"].records]  # type: ignore[union-attr]
    assert [record["category"] for record in records[:3]] == ["mvtec_ad/lost", "mvtec_ad/c77", "mvtec_ad/c0"]
    assert len(records) == 200 and shown["dagster/row_count"] == 5000 and shown["cells_failed"] == 1
    assert "200 of 5,000 rows" in shown["shown"] and "/store/leaderboard.json" in shown["shown"]  # type: ignore[operator]
    assert [record.data["reason"] for record in shown["reasons"].records] == ["no such file"]  # type: ignore[union-attr]
    assert shown["warnings"].value[-1] == "and 700 more: see `uad leaderboard`"  # type: ignore[union-attr]
    assert len(shown["means"].records) == 200  # type: ignore[union-attr]
    assert shown["means_shown"] == "the first 200, and 10 more: see `uad leaderboard`"
    assert not {"leaderboard_shown", "reasons_shown"} & shown.keys()
    assert shown["unreachable"].value["..."] == "and 1 more: see `uad check`"  # type: ignore[union-attr]
    event = dg.AssetMaterialization("leaderboard", metadata=shown)
    assert len(dg.serialize_value(event)) < 200_000


def test_the_index_has_its_column(invented: Metric, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "uad.yaml").write_text(
        "datasets: {d: {layout: folder, root: data, categories: [a]}}\n"
        "detectors: {patchcore: {model: vision_patchcore}}\n"
    )
    project = open_project(tmp_path)
    index = open_index(open_store(project))
    assert index.sql("FROM metrics").columns[4:] == catalogue.board_metrics()
    assert "pixel_error" in catalogue.board_metrics()


def test_a_rise_is_a_loss_where_lower_is_better(invented: Metric) -> None:
    assert metrics_kept({"pixel_error": 0.3}, {"pixel_error": 0.1}, 0.02).passed
    assert not metrics_kept({"pixel_error": 0.1}, {"pixel_error": 0.3}, 0.02).passed
    assert metrics_kept({"image_auroc": 0.1}, {"image_auroc": 0.3}, 0.02).passed
    assert not metrics_kept({"image_auroc": 0.3}, {"image_auroc": 0.1}, 0.02).passed


def test_every_field_of_a_row_is_a_metric_or_said_to_be_none() -> None:
    fields = set(published_fields())
    assert fields >= NOT_A_METRIC
    of_line = {metric.name for metric in metrics_of("review", "line")}
    on_board = {metric.name for metric in METRICS if metric.on_board and metric.always} | of_line
    assert fields - NOT_A_METRIC == on_board | set(catalogue.board_metrics())
    assert all(find(name) is not None for name in fields - NOT_A_METRIC)
    assert list(json.loads(LeaderboardRow(dataset="d", category="c", detector="x", status="fresh").model_dump_json()))[
        10:21
    ] == [
        *("image_auroc", "image_auroc_interval", "intervals", "within_noise_of", "image_ap", "image_f1_max"),
        *("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro_0.3", "aupro_0.05"),
    ]  # fmt: skip


def test_tables_and_pages_ask_for_the_metrics_of_the_catalogue_and_for_all_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = set()

    def noted(key: str) -> columns.Column:
        asked.add(key)
        return columns_column(key)

    columns_column = columns.column
    for module in (columns, board_text, page_templates):
        monkeypatch.setattr(module, "column", noted)
    limits = ("spro_0.05", "seg_f1", "aupimo", "map_max_auroc")
    cells = {
        ("mvtec_ad/bottle", "dino"): report().model_copy(update={"review": review()}),
        ("mvtec_ad/screw", "dino"): report("screw"),
        ("mvtec_loco/pins", "dino"): report("pins", dataset="mvtec_loco", limits=limits),
    }
    board = build_leaderboard(cells, costs=Costs(false_alarm=1, miss=50, defect_rate=0.01))
    for text in ("md", "table"):
        render_leaderboard(board, text, width=400)  # type: ignore[arg-type]
    sections = [CellSection(cell, score_rows()) for cell in cells.values()]
    write_report(tmp_path / "report.html", board, sections, made_at=datetime(2026, 1, 1, tzinfo=UTC))
    names = {metric.name for metric in METRICS if metric.limits is None} | {
        "aupro_0.3",
        "aupro_0.05",
        "spro_0.05",
    }
    intervals = {f"{name}_interval" for name in names if (metric := find(name)) and metric.interval}
    assert asked == names | intervals | set(columns.BESIDE_METRICS)
