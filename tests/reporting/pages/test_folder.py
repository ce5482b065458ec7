"""The report as a folder: complete, linked, safe, no more drawn than what changed, usable whenever it is cut off."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.reporting.cells import score_rows
from tests.reporting.pages.made_reports import ODD, Reader, board, category, files, rows, write
from tests.reporting.test_html_report import Page
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.reporting.board.cell_warning import CellWarning
from uad_orchestrator.reporting.pages.board_pages import CELLS_ON_A_PAGE
from uad_orchestrator.reporting.pages.report_folder import NotAReport

ODD_DETECTORS = ("100% #1 'dino'", "größe & <b>")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With odd names of images and detectors, and a warning of one image."""
    names = [("bottle", detector) for detector in ODD_DETECTORS]
    warnings = [
        CellWarning(
            category="mvtec_ad/bottle", detector=ODD_DETECTORS[0], check="odd_maps", message="<i>", images=ODD
        )
    ]
    shown = category(Reader(), ODD_DETECTORS, odd=ODD)
    return write(tmp_path_factory.mktemp("odd") / "re port #1", shown, of=board(names, warnings)).parent


def data(folder: Path, path: str) -> dict:
    """What a script hands over."""
    text = (folder / path).read_text("utf-8")
    return json.loads(re.search(r"^report\w+\((.*)\);$", text, re.MULTILINE)[1])


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


def test_every_link_leads_to_a_file_of_the_folder(made: Path) -> None:
    assert len(pages(made)) == 1 + len(ODD_DETECTORS)
    for page in pages(made):
        parsed = Page(page.read_text("utf-8"))
        ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        assert len(set(ids)) == len(ids)
        for _, attributes in parsed.elements:
            for address in (attributes.get("href"), attributes.get("src")):
                if address is None or address.startswith("data:"):
                    continue
                found = urlparse(address)
                assert not found.scheme and not found.netloc and not found.query
                target = page.parent / unquote(found.path) if found.path else page
                assert target.resolve().is_relative_to(made.resolve()) and target.is_file(), address
                if found.fragment and target == page:
                    assert found.fragment in ids


def test_words_from_outside_are_text(made: Path) -> None:
    for page in pages(made):
        text = page.read_text("utf-8")
        assert "<i>" not in text and "& <b>" not in text
        assert "&lt;" in text
        assert text.count("<script>") == 0, "nothing is run that stands in a page"


def test_every_image_is_listed_with_its_pictures(made: Path) -> None:
    images = data(made, "data/mvtec_ad/bottle/_.js")["images"]
    assert [image["name"] for image in images] == [row.image for row in rows(0, ODD) if row.role == "test"]
    pictures = made / "pictures/mvtec_ad/bottle"
    for detector in ODD_DETECTORS:
        cell = data(made, f"data/mvtec_ad/bottle/{detector}.js")
        assert len(cell["scores"]) == len(images) and None not in cell["scores"]
        assert len(list((made / cell["maps"]).iterdir())) == len(images)
    for image in images:
        assert (pictures / "_" / f"{image['view']}.jpg").stat().st_size > 100
        assert (pictures / "_" / f"{image['view']}-small.jpg").is_file()
        assert bool(image["truth"]) == (image["label"] == 1)
        assert not image["truth"] or (pictures / "_" / f"{image['truth']}.svg").is_file()
    checks = data(made, f"data/mvtec_ad/bottle/{ODD_DETECTORS[0]}.js")["checks"]
    assert {images[int(number)]["name"] for number in checks} == set(ODD)


def test_a_second_run_draws_nothing(tmp_path: Path) -> None:
    write(tmp_path, category(Reader()))
    before, again = files(tmp_path), Reader()
    write(tmp_path, category(again))
    assert (again.cells, again.images, again.maps) == ([], [], [])
    assert {path for path, state in files(tmp_path).items() if before.get(path) != state} <= {"index.html"}


def test_one_cell_that_changed_is_drawn_alone(tmp_path: Path) -> None:
    write(tmp_path, category(Reader()))
    before, again = files(tmp_path), Reader()
    write(tmp_path, category(again, version=lambda detector: "2" if detector == "dino" else "1"))
    assert again.cells == ["dino"] and again.images == [] and len(again.maps) == 27
    after = files(tmp_path)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert all("dino" in path or path == "index.html" for path in changed)
    assert len(after) == len(before), "the maps of the version before are gone"


def test_what_is_no_more_is_removed(tmp_path: Path) -> None:
    write(tmp_path, category(Reader()), category(Reader(), name="screw"))
    assert (tmp_path / "pictures/mvtec_ad/screw").is_dir()
    write(tmp_path, category(Reader(), ("patchcore",)))
    left = files(tmp_path)
    assert not [path for path in left if "screw" in path or "dino" in path]
    assert "cells/mvtec_ad/bottle/patchcore.html" in left
    assert not list((tmp_path / "cells/mvtec_ad").glob("screw"))


def test_a_run_that_is_cut_off_leaves_a_report_and_the_next_goes_on(tmp_path: Path) -> None:
    write(tmp_path, category(Reader()))
    before = files(tmp_path)
    shown = category(Reader(), version=lambda _: "2")

    def killed() -> None:
        raise KeyboardInterrupt

    broken = replace(shown, cells=[shown.cells[0], replace(shown.cells[1], read=killed)])
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, broken)
    after = files(tmp_path)
    assert before.keys() <= after.keys(), "nothing that a page of before shows is gone"
    again = Reader()
    write(tmp_path, category(again, version=lambda _: "2"))
    assert again.cells == ["patchcore"]
    assert len(files(tmp_path)) == len(before)


def test_an_image_that_cannot_be_read_says_so_and_is_tried_again(tmp_path: Path) -> None:
    shown = category(Reader())
    name = shown.images[0].path

    def unreadable(path: str) -> None:
        raise ImageError(f"{path}: cut short")

    write(tmp_path, replace(shown, image=unreadable))
    assert data(tmp_path, "data/mvtec_ad/bottle/_.js")["images"][0]["fault"] == f"{name}: cut short"
    again = Reader()
    write(tmp_path, category(again))
    assert len(again.images) == 27 and "fault" not in data(tmp_path, "data/mvtec_ad/bottle/_.js")["images"][0]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/mine.txt").write_text("mine")
    with pytest.raises(NotAReport, match="holds other files"):
        write(tmp_path, category(Reader()))
    assert files(tmp_path).keys() == {"cells/mine.txt"}


def test_what_another_run_is_writing_stays_what_a_killed_one_left_goes(tmp_path: Path) -> None:
    write(tmp_path, category(Reader()))
    written, left = (tmp_path / "cells" / name for name in (".now.part", ".before.part"))
    for path in (written, left):
        path.write_text("half")
    os.utime(left, (0, 0))
    write(tmp_path, category(Reader()))
    assert written.exists() and not left.exists()


def test_a_board_of_many_cells_is_cut_into_pages_that_hold_whole_categories(tmp_path: Path) -> None:
    names = [(f"c{n:03d}", detector) for n in range(CELLS_ON_A_PAGE) for detector in ("dino", "patchcore")]
    warnings = [
        CellWarning(category=f"mvtec_ad/{name}", detector=detector, check="odd_maps", message="m" * 500)
        for name, detector in names
    ]
    index = write(tmp_path, category(Reader()), of=board(names, warnings))
    parts = sorted((tmp_path / "board/mvtec_ad").iterdir())
    assert len(parts) == 2
    said = [re.findall(r'data-name="mvtec_ad/(\w+) (\w+)"', part.read_text("utf-8")) for part in parts]
    assert [cell for part in said for cell in part] == names
    assert not {name for name, _ in said[0]} & {name for name, _ in said[1]}
    assert all(path.stat().st_size < 2_000_000 for path in (index, *parts))
    assert "200 of 400 are shown here" in index.read_text("utf-8")
    before = files(tmp_path)
    write(tmp_path, category(Reader()), of=board(names, warnings))
    assert [
        path for path in before if path.startswith("board") and files(tmp_path)[path] != before[path]
    ] == []


def test_thousands_of_images_make_no_large_page(tmp_path: Path) -> None:
    shown = category(Reader(), ("dino",), table=lambda seed: score_rows(seed, normals=1500, per_defect=500))
    write(tmp_path, shown)
    page = tmp_path / "cells/mvtec_ad/bottle/dino.html"
    assert len(shown.images) == 3000 and page.stat().st_size < 500_000
