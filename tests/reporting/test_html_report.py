"""The HTML report: complete, self-contained, well linked, safe, and sortable in a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.chromium import CHROMIUM
from tests.reporting.cells import report, score_rows
from uad_orchestrator.metrics.pixels.counts import PixelCounts
from uad_orchestrator.reporting.board.leaderboard import build_leaderboard
from uad_orchestrator.reporting.board.row import BoardCell
from uad_orchestrator.reporting.cases import choose_cases
from uad_orchestrator.reporting.html_report import CellSection, write_report
from uad_orchestrator.reporting.page_templates import cell_anchor
from uad_orchestrator.reporting.pictures.contact_sheet import Case, contact_sheet
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale
from uad_orchestrator.storage.provenance import Provenance

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOSTILE = '<script>alert("x")</script> & "quoted"'
VOID = {"meta", "link", "img", "br", "input", "wbr"}


class Page(HTMLParser):
    """Attributes of all elements, ids, text, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def section(category: str, detector: str, seed: int, pixels: bool = True) -> CellSection:
    rows = score_rows(seed)
    rng = np.random.default_rng(seed)
    counts = PixelCounts()
    mask = np.zeros((32, 32), bool)
    mask[8:16, 8:16] = True
    counts.update((rng.normal(0, 1, mask.shape) + 2 * mask).astype(np.float32), mask)
    picture = np.full((32, 32, 3), 120, np.uint8)
    cases = (Case(chosen, picture, np.ones((32, 32), np.float32)) for chosen in choose_cases(rows, 1))
    scale = HeatmapScale.from_normals(1.0, 0.1, 2.0)
    settings = {"coreset": {"ratio": 0.1}, "note": HOSTILE}
    return CellSection(
        report(category, detector, seed=seed, pixels=pixels),
        rows,
        counts.curves(100) if pixels else {},
        contact_sheet(cases, threshold=6.0, scale=scale),
        [
            Provenance(
                asset="memory_bank", version="ab" * 32, settings=settings, host="line7", started_at=NOON
            )
        ],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    sections = [
        section("bottle", "dino", 0),
        section("bottle", "patchcore", 1),
        section("screw", "dino", 2, pixels=False),
    ]
    cells = {(f"mvtec_ad/{s.report.category}", s.report.detector): s.report for s in sections}
    cells["mvtec_ad/screw", "patchcore"] = BoardCell("failed", reason=HOSTILE)
    board = build_leaderboard(cells)
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_report(path, board, iter(sections), title="Line <7>", made_at=NOON)
    return board, sections, path


def test_nothing_is_loaded_from_elsewhere(made):
    text = made[2].read_text()
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in text
    assert all(address.startswith(("#", "data:")) for address in re.findall(r"url\(([^)]*)\)", text))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_link_has_its_target_and_every_id_is_once(made):
    page = Page(made[2].read_text())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = {a["href"][1:] for t, a in page.elements if t == "a" and a["href"].startswith("#")}
    assert links <= set(ids)
    assert cell_anchor("mvtec_ad/bottle", "dino") in links


def test_words_from_outside_are_text(made):
    text = made[2].read_text()
    assert HOSTILE not in text and "<title>Line &lt;7&gt;</title>" in text
    assert text.count(html.escape(HOSTILE).replace("&quot;", "&#34;")) >= 1
    assert len(re.findall(r"<script(?! type=.application/json.)", text)) == 1  # data are not run


def test_every_cell_is_a_row_with_its_figures_or_its_reason(made):
    board, sections, path = made
    text = path.read_text()
    body = text[text.index('<table class="sortable">') :].split("</table>")[0]
    rows = re.findall(r"<tr class=.*?</tr>", body, re.DOTALL)
    assert len(rows) == len(board.rows)
    for row, shown in zip(board.rows, rows, strict=True):
        assert row.category in shown and row.detector in shown
        if row.status == "failed":
            assert "&lt;script&gt;" in shown
            continue
        for name in ("image_auroc", "recall", "false_positive_rate"):
            low, high = row.intervals[name]
            below = f'<br><small class="interval">{low:.3f}–{high:.3f}</small></td>'
            assert f">{row.value(name):.3f}{below}" in shown
        assert ">12 + 15</td>" in shown
        assert f"{row.threshold:.4g}<br><small>leave_one_image_out</small>" in shown
        assert f"{row.seconds_per_image_p95 * 1000:.3g} ms" in shown and "2.5 MB" in shown
    assert 'class="best"' in body
    assert "Over 1 of 2 categories: bottle. Left out: screw (patchcore: failed)." in text
    for of in sections:
        assert f'id="{cell_anchor("mvtec_ad/" + of.report.category, of.report.detector)}"' in text
    assert text.count("data:image/jpeg") == 3
    assert text.count('role="img"') == 4 + 4 + 3  # the cell without masks has no PRO curve
    assert "no ground-truth masks" in text and "ratio: 0.1" in text


def test_f1_max_is_said_to_read_test_labels(made):
    assert made[2].read_text().count("Reads test labels.") >= 2


def test_the_same_arguments_give_the_same_bytes(made, tmp_path):
    board, sections, path = made
    write_report(tmp_path / "again.html", board, sections, title="Line <7>", made_at=NOON)
    assert (tmp_path / "again.html").read_bytes() == path.read_bytes()


def test_a_failure_on_the_way_leaves_the_old_report(made, tmp_path):
    board, sections, _ = made
    path = tmp_path / "report.html"
    path.write_text("old")

    def breaking():
        yield sections[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        write_report(path, board, breaking())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_board_without_cells_is_a_page(tmp_path):
    write_report(tmp_path / "report.html", build_leaderboard({}), [])
    text = (tmp_path / "report.html").read_text()
    Page(text)
    assert "No cell is declared" in text


@pytest.mark.end_to_end
def test_the_table_sorts_filters_and_fits_a_phone(made, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium to open the page with")
    script = """
    const names = () => [...document.querySelectorAll("table.sortable tbody tr")].filter(row => !row.hidden)
      .map(row => row.dataset.name).join(";");
    const button = [...document.querySelectorAll("th button")].find(b => b.textContent.includes("p50"));
    const seen = {};
    button.click(); seen.slowest = names();
    button.click(); seen.fastest = names();
    const filter = document.getElementById("filter");
    filter.value = "screw dino"; filter.dispatchEvent(new Event("input")); seen.filtered = names();
    const metric = document.getElementById("metric");
    metric.value = "pixel_ap"; metric.dispatchEvent(new Event("change"));
    seen.metric = document.querySelector(".matrix span:not([hidden])").dataset.metric;
    location.hash = document.querySelector("details.cell").id;
    setTimeout(() => {
      seen.opened = document.querySelector("details.cell").open;
      document.querySelectorAll("details").forEach(part => { part.open = true; });
      seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
      document.title = JSON.stringify(seen);
    }, 200);
    """
    page = tmp_path / "page.html"
    page.write_text(made[2].read_text().replace("</body>", f"<script>{script}</script></body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=390,800", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    seen = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dumped)[1]))
    bottle, other, screw = "mvtec_ad/bottle dino", "mvtec_ad/bottle patchcore", "mvtec_ad/screw dino"
    failed = "mvtec_ad/screw patchcore"
    assert seen["slowest"].split(";") == [screw, other, bottle, failed]
    assert seen["fastest"].split(";") == [bottle, other, screw, failed]
    assert seen["filtered"] == screw
    assert seen["metric"] == "pixel_ap"
    assert seen["opened"] is True
    assert seen["overflow"] == 0
