"""Plug-ins: named like ours, imported when they are named, their version in the recipe, their faults said.

The packages here are folders with the metadata that pip writes. ``test_examples`` installs a real one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.orchestration.workshop import Workshop
from tests.plugins_anew import look_again
from uad_orchestrator.datasets import DatasetError, check_dataset, find_categories
from uad_orchestrator.datasets.layout_settings import DATASET_KEYS
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.detectors import create_detector, detector_spec
from uad_orchestrator.detectors.registry import DETECTORS, required_packages
from uad_orchestrator.embedders import EmbedderSettings, create_embedder, embedder_recipe
from uad_orchestrator.orchestration.services.project_check.check import check_project
from uad_orchestrator.orchestration.versions.graph import STAGES
from uad_orchestrator.orchestration.versions.input_contents import dataset_category, fit_settings
from uad_orchestrator.orchestration.versions.stores import open_state
from uad_orchestrator.plugins import PluginError
from uad_orchestrator.project import DatasetSettings, Project, ProjectError, load_project

DETECTOR = """
from pydantic import PositiveInt
from uad_orchestrator.detectors import DetectorSpec, MapSettings, ScoringSettings, Settings
from uad_orchestrator.embedders import EmbedderSettings

class Fit(Settings):
    smoothing: PositiveInt = 3

SPEC = DetectorSpec(
    model="acme_detector",
    implementation="acme_detector_class:Acme",
    fit=Fit,
    scoring=ScoringSettings,
    default_embedder=EmbedderSettings(name="filter_bank"),
    default_maps=MapSettings(),
    versions={"fit": 1, "scoring": 1, "maps": 1},
)
"""
IMPLEMENTATION = """
from uad_orchestrator.detectors.bank.patchcore import PatchCore

class Acme(PatchCore):
    def fit_state(self, images):
        raise RuntimeError(f"smoothing {self.fit_settings.smoothing}")
"""
EMBEDDER = """
import numpy as np
from pydantic import PositiveInt
from uad_orchestrator.embedders import EmbedderSettings, EmbedderSpec, PatchEmbedding

class GreySettings(EmbedderSettings):
    cell: PositiveInt = 8

class Grey:
    def __init__(self, settings, weights, device):
        self.settings = settings

    def embed(self, image):
        cell, (height, width) = self.settings.cell, image.shape[:2]
        grid = height // cell, width // cell
        cells = image[: grid[0] * cell, : grid[1] * cell].reshape(grid[0], cell, grid[1], cell, 3)
        return PatchEmbedding(cells.mean((1, 3)).reshape(-1, 3), grid, (height, width))

SPEC = EmbedderSpec(implementation="acme_embedder:Grey", version=4, settings=GreySettings)
"""
LAYOUT = """
from uad_orchestrator.datasets.layouts.published import mvtec_ad
from uad_orchestrator.datasets import Layout

LAYOUT = Layout(2, mvtec_ad.find_categories, mvtec_ad.scan_category)
"""
THINNED_LAYOUT = """
from pydantic import PositiveInt
from uad_orchestrator.datasets.layouts.published import mvtec_ad
from uad_orchestrator.datasets import Layout, LayoutSettings

class Thinned(LayoutSettings):
    every: PositiveInt = 1
    split_folder: str = "train"

def find_categories(root, settings):
    return [name for name in mvtec_ad.find_categories(root) if (root / name / settings.split_folder).is_dir()]

def scan_category(root, category, exclusions, settings):
    scan = mvtec_ad.scan_category(root, category, exclusions)
    train = [image for image in scan.images if image.split == "train"]
    scan.images = train[:: settings.every] + [image for image in scan.images if image.split != "train"]
    return scan

LAYOUT = Layout(1, find_categories, scan_category, settings=Thinned)
"""
MODULES = {
    "acme_spec": DETECTOR,
    "acme_detector_class": IMPLEMENTATION,
    "acme_embedder": EMBEDDER,
    "acme_layout": LAYOUT,
    "acme_thinned": THINNED_LAYOUT,
}
ACME = {
    "detectors": {"acme_detector": "acme_spec:SPEC"},
    "embedders": {"acme_grey": "acme_embedder:SPEC"},
    "layouts": {"acme_tree": "acme_layout:LAYOUT", "acme_thinned": "acme_thinned:LAYOUT"},
}

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package: its name, version, modules and entry points by group."""
    made: list[str] = []

    def put(
        name: str = "acme-uad",
        version: str = "1.0",
        modules: dict[str, str] = MODULES,
        points: dict[str, dict[str, str]] = ACME,
    ) -> Path:
        site = tmp_path / "site" / name
        metadata = site / f"{name}-{version}.dist-info"
        for old in site.glob("*.dist-info/*"):
            old.unlink()
        metadata.mkdir(parents=True, exist_ok=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [
            f"[uad_orchestrator.{group}]\n" + "".join(f"{word} = {value}\n" for word, value in words.items())
            for group, words in points.items()
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
            made.append(module)
        monkeypatch.syspath_prepend(site)
        look_again()
        return site

    yield put
    look_again()
    for module in made:
        sys.modules.pop(module, None)


def read(tmp_path: Path, detectors: str, datasets: str = "demo: {}") -> Project:
    (tmp_path / "uad.yaml").write_text(f"datasets:\n  {datasets}\ndetectors:\n  {detectors}\n")
    return load_project(tmp_path)


def problems(tmp_path: Path, detectors: str, datasets: str = "demo: {}") -> list[str]:
    with pytest.raises(ProjectError) as raised:
        read(tmp_path, detectors, datasets)
    return [str(problem) for problem in raised.value.problems]


def test_installing_imports_nothing_and_changes_nothing_of_ours(tmp_path: Path, install: Install) -> None:
    entry = read(tmp_path, "p: {model: vision_patchcore}").detectors["p"]
    before = fit_settings(entry), embedder_recipe(EmbedderSettings(name="resnet18"))
    install()
    entry = read(tmp_path, "p: {model: vision_patchcore}").detectors["p"]
    assert (fit_settings(entry), embedder_recipe(EmbedderSettings(name="resnet18"))) == before
    assert not sys.modules.keys() & MODULES.keys()


def test_a_detector_is_named_set_and_used(tmp_path: Path, install: Install) -> None:
    install()
    entry = read(tmp_path, "own: {model: acme_detector, smoothing: 5, contamination: 0.2}").detectors["own"]
    assert "acme_spec" in sys.modules and "acme_detector_class" not in sys.modules
    assert entry.fit.smoothing == 5 and entry.scoring.contamination == 0.2  # type: ignore[attr-defined]
    found = fit_settings(entry)
    assert found["package"] == {"acme-uad": "1.0"} and found["settings"] == {"smoothing": 5}
    with pytest.raises(RuntimeError, match="smoothing 7"):
        create_detector("acme_detector", smoothing=7).fit([np.zeros((32, 32, 3), np.uint8)])


def test_its_settings_are_checked_by_its_own_model(tmp_path: Path, install: Install) -> None:
    install()
    (unknown,) = problems(tmp_path, "own:\n    model: acme_detector\n    smoothin: 5")
    assert unknown.startswith("line 6, detectors.own.smoothin: unknown key")
    assert "did you mean 'smoothing'" in unknown
    (wrong,) = problems(tmp_path, "own: {model: acme_detector, smoothing: 0}")
    assert "detectors.own.smoothing: is 0" in wrong


def test_an_embedder_is_named_set_and_used(tmp_path: Path, install: Install) -> None:
    install()
    text = "own: {model: vision_patchcore, embedder: {name: acme_grey, cell: 4}}"
    settings = read(tmp_path, text).detectors["own"].embedder
    assert settings is not None and settings.cell == 4  # type: ignore[attr-defined]
    recipe = {"embedder": "acme_grey", "version": 4, "name": "acme_grey", "cell": 4}
    assert embedder_recipe(settings) == {**recipe, "package": {"acme-uad": "1.0"}}
    assert create_embedder(settings).embed(np.zeros((16, 8, 3), np.uint8)).grid_shape == (4, 2)
    images = list(np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8))
    named = create_detector("vision_patchcore", embedder="acme_grey", contamination=0.3).fit(images)
    assert named.respond(named.state_, []) is not None and named.state_.facts["dimension"] == 3


@pytest.mark.parametrize(
    ("embedder", "said"),
    [
        ("{name: acme_grey, cel: 4}", ("embedder.cel: unknown key", "did you mean 'cell'")),
        ("{name: acme_grey, cell: 0}", ("embedder.cell: is 0",)),
        ("{name: acme_grey, layers: [a]}", ("embedder.layers: acme_grey has no layers; leave the key out",)),
        ("{name: acme_grey, weights: a.pth}", ("embedder.weights: acme_grey has no weights",)),
        ("acme_gray", ("did you mean 'acme_grey'",)),
    ],
)
def test_an_embedders_settings_are_checked_by_its_own_model(
    tmp_path: Path, install: Install, embedder: str, said: tuple[str, ...]
) -> None:
    install()
    (problem,) = problems(tmp_path, f"own: {{model: vision_patchcore, embedder: {embedder}}}")
    assert problem.startswith("line 4, detectors.own.embedder") and all(part in problem for part in said)


def test_a_layout_is_named_and_its_version_recorded(tmp_path: Path, install: Install) -> None:
    install()
    workshop = Workshop.build(tmp_path / "work", {"parts": ["disc"]})
    workshop.edit(lambda values: values["datasets"]["parts"].update(layout="acme_tree", categories=None))
    assert workshop.project.category_keys() == ["parts/disc"]
    named, ours = (
        dataset_category(load_dataset("parts", workshop.home / "data/parts", "disc", layout=layout))
        for layout in ("acme_tree", "mvtec_ad")
    )
    recorded = {"layout": "acme_tree", "layout_version": 2, "package": {"acme-uad": "1.0"}}
    assert named == {**ours, **recorded}


def test_a_layouts_settings_decide_what_is_read_and_what_is_stale(tmp_path: Path, install: Install) -> None:
    install()
    workshop = Workshop.build(tmp_path / "work", {"parts": ["disc"], "others": ["disc"]})

    def thin(every: int | None) -> None:
        added = {} if every is None else {"every": every}
        parts = {"layout": "acme_thinned", "root": "data/parts", **added}
        workshop.edit(lambda values: values["datasets"].update(parts=parts))

    thin(None)
    assert workshop.project.category_keys() == ["parts/disc", "others/disc"]
    assert not workshop.refresh().failed
    thin(1)
    assert workshop.plan().stale == (), "it is the default"
    thin(2)
    stale = workshop.plan().stale
    assert {node.category for node in stale} == {"parts/disc", None}
    assert {node.asset for node in stale if node.category} == set(STAGES)
    assert len(open_state(workshop.project).manifest("parts/disc").train) == 3
    workshop.refresh()
    assert workshop.plan().stale == ()
    (tmp_path / "work/data/parts/disc/train/good/001.png").write_bytes(b"no image, and not read")
    thinned = check_project(workshop.project)
    assert thinned.problems == ()
    thin(1)
    whole = check_project(workshop.project)
    assert [problem.where for problem in whole.problems] == ["parts/disc: disc/train/good/001.png"]
    assert whole.disk_bytes > thinned.disk_bytes
    workshop.edit(lambda values: values["datasets"]["parts"].update(split_folder="lost"))
    assert "no category of layout acme_thinned" in workshop.project.unreachable["parts"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("evry: 2", "a.evry: unknown key; did you mean 'every'?"),
        ("exlude: [x/y.png]", "a.exlude: unknown key; did you mean 'exclude'?"),
        ("layout_settings: {every: 2}", "a.layout_settings: unknown key; "),
        ("every: 0", "a.every: is 0, should be greater than 0"),
        ("every: true", "a.every: is true or false where a number is expected"),
        ("split_folder: 3", "a.split_folder: is 3, should be a valid string; put it in quotes: '3'"),
    ],
)
def test_a_layouts_settings_are_checked_by_its_own_model(
    tmp_path: Path, install: Install, entry: str, said: str
) -> None:
    install()
    datasets = f"a:\n    layout: acme_thinned\n    root: x\n    {entry}"
    (problem,) = problems(tmp_path, "p: {model: vision_patchcore}", datasets)
    assert problem.startswith(f"line 5, datasets.{said}")
    if "unknown key" in said:
        assert f"valid: {', '.join(sorted({*DATASET_KEYS, 'every', 'split_folder'}))}" in problem


def test_of_a_layout_that_is_missing_only_misspelt_keys_of_every_dataset_are_said(
    tmp_path: Path, install: Install
) -> None:
    entry = "a: {layout: acme_thinned, root: x, every: 2, exlude: []}"
    layout, key = sorted(
        problems(tmp_path, "p: {model: vision_patchcore}", entry), key=lambda said: "exl" in said
    )
    assert "no layout is called 'acme_thinned'" in layout
    assert "datasets.a.exlude: unknown key; did you mean 'exclude'?" in key


def test_a_layout_whose_key_every_dataset_has_is_refused(tmp_path: Path, install: Install) -> None:
    install(modules={**MODULES, "acme_thinned": THINNED_LAYOUT.replace("split_folder", "root")})
    (problem,) = problems(tmp_path, "p: {model: vision_patchcore}", "a: {layout: acme_thinned, root: x}")
    assert "datasets.a.layout: the layout 'acme_thinned' of the package acme-uad 1.0" in problem
    assert "the layout's setting 'root' has two meanings" in problem
    assert DatasetSettings.model_fields.keys() - {"layout_settings"} == DATASET_KEYS


def test_a_layouts_settings_are_given_to_the_library_by_key(tmp_path: Path, install: Install) -> None:
    install()
    workshop = Workshop.build(tmp_path, {"parts": ["disc"]})
    root = workshop.home / "data/parts"
    given = {"layout": "acme_thinned", "layout_settings": {"every": 3}}
    assert len(load_dataset("parts", root, "disc", **given).train) == 2  # type: ignore[arg-type]
    assert check_dataset("acme_thinned", root, "disc", layout_settings={"every": 3}) == []
    with pytest.raises(DatasetError, match=r"the settings of layout acme_thinned: every: .*greater than 0"):
        find_categories("acme_thinned", root, {"every": 0})
    with pytest.raises(DatasetError, match="the settings of layout mvtec_ad: every: "):
        load_dataset("parts", root, "disc", layout="mvtec_ad", layout_settings={"every": 3})


def test_another_version_of_the_package_is_another_version_of_what_it_makes(
    tmp_path: Path, install: Install
) -> None:
    install()
    entries = (
        "own: {model: acme_detector}",
        "grey: {model: vision_patchcore, embedder: acme_grey}",
        "p: {model: vision_patchcore}",
    )
    text = "\n  ".join(entries)
    first = {name: fit_settings(entry) for name, entry in read(tmp_path, text).detectors.items()}
    install(version="1.1")
    second = {name: fit_settings(entry) for name, entry in read(tmp_path, text).detectors.items()}
    assert {name for name in first if first[name] != second[name]} == {"own", "grey"}
    assert second["own"]["package"] == {"acme-uad": "1.1"}
    assert second["grey"]["embedder"]["package"] == {"acme-uad": "1.1"}


def test_a_package_of_the_spec_counts_too(install: Install) -> None:
    text = DETECTOR.replace("versions=", "package='numpy', versions=")
    install(modules={**MODULES, "acme_spec": text})
    assert required_packages("acme_detector") == {"acme-uad": "1.0", "numpy": np.__version__}


def test_a_package_of_the_spec_that_is_missing_is_said(install: Install) -> None:
    text = DETECTOR.replace("versions=", "package='no-such-package', versions=")
    install(modules={**MODULES, "acme_spec": text})
    with pytest.raises(ImportError, match="pip install no-such-package"):
        required_packages("acme_detector")


def test_a_missing_package_is_said_with_the_nearest_word(tmp_path: Path, install: Install) -> None:
    detector, layout = problems(
        tmp_path, "own: {model: acme_detector, smoothing: 3}", "a: {layout: acme_tree, root: x}"
    )[::-1]
    assert "detectors.own.model: no detector is called 'acme_detector'" in detector
    assert "datasets.a.layout: no layout is called 'acme_tree'" in layout
    assert all("if another package brings it, install that one" in said for said in (detector, layout))
    install()
    (misspelt,) = problems(tmp_path, "own: {model: acme_detectr}")
    assert "did you mean 'acme_detector'" in misspelt
    with pytest.raises(ValueError, match=r"did you mean 'acme_detector'\? .*another package"):
        detector_spec("acme_detectr")


def broken(install: Install) -> None:
    install(
        modules=dict.fromkeys(MODULES, "raise RuntimeError('no licence found')"),
    )


def test_one_that_raises_is_said_where_it_is_named_and_nowhere_else(tmp_path: Path, install: Install) -> None:
    install(modules=dict.fromkeys(MODULES, "raise RuntimeError('no licence found')"))
    project = read(tmp_path, "p: {model: vision_patchcore}")
    assert not sys.modules.keys() & MODULES.keys(), "it is not even tried"
    for detectors, datasets, place in (
        ("own: {model: acme_detector, smoothing: 5}", "demo: {}", "line 4, detectors.own.model"),
        (
            "own: {model: vision_patchcore, embedder: acme_grey}",
            "demo: {}",
            "line 4, detectors.own.embedder.name",
        ),
        ("p: {model: vision_patchcore}", "a: {layout: acme_tree, root: x}", "line 2, datasets.a.layout"),
    ):
        (problem,) = problems(tmp_path, detectors, datasets)
        assert problem.startswith(place)
        assert "package acme-uad 1.0 cannot be imported" in problem and "no licence found" in problem
    notes = check_project(project).notes
    assert sum("acme-uad 1.0 cannot be imported" in note for note in notes) == 4
    assert check_project(project).problems == ()


def test_two_packages_of_one_word_are_said(tmp_path: Path, install: Install) -> None:
    install()
    install("other", "2.0", {"other_spec": DETECTOR}, {"detectors": {"acme_detector": "other_spec:SPEC"}})
    (problem,) = problems(tmp_path, "own: {model: acme_detector}")
    assert "detectors.own.model" in problem
    assert "acme-uad 1.0" in problem and "other 2.0" in problem and "uninstall" in problem
    assert "own" in read(tmp_path, "own: {model: vision_patchcore, embedder: acme_grey}").detectors


@pytest.mark.parametrize(
    ("group", "word", "detectors", "datasets"),
    [
        ("detectors", "vision_patchcore", "own: {model: vision_patchcore}", "demo: {}"),
        ("embedders", "resnet18", "own: {model: vision_patchcore, embedder: resnet18}", "demo: {}"),
        ("layouts", "mvtec_ad", "own: {model: vision_patchcore}", "mvtec_ad: {root: x}"),
    ],
)
def test_a_word_of_ours_is_nobody_elses(
    tmp_path: Path, install: Install, group: str, word: str, detectors: str, datasets: str
) -> None:
    install(points={group: {word: next(iter(ACME[group].values()))}})
    (problem,) = problems(tmp_path, detectors, datasets)
    assert f"{word!r} is offered by uad_orchestrator itself and by the package acme-uad 1.0" in problem
    notes = check_project(read(tmp_path, "q: {model: vision_softpatch}")).notes
    assert any("uad_orchestrator itself" in note for note in notes)


def test_what_leads_to_something_else_is_said(install: Install) -> None:
    install(points={"detectors": {"acme_detector": "acme_spec:Fit", "acme_other": "acme_spec:SPEC"}})
    with pytest.raises(PluginError, match=r"acme-uad 1\.0 is no DetectorSpec: acme_spec:Fit"):
        detector_spec("acme_detector")
    with pytest.raises(PluginError, match=r"'acme_other' leads to the spec of a detector 'acme_detector'"):
        detector_spec("acme_other")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"fit": 1}}, "versions has"),
        (
            {"scoring": DETECTORS["vision_patchcore"].scoring, "fit": DETECTORS["vision_patchcore"].scoring},
            "two meanings",
        ),
    ],
)
def test_a_spec_that_cannot_be_right_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(DETECTORS["vision_patchcore"], **changed)


def test_a_class_that_cannot_be_imported_is_said(install: Install) -> None:
    install(modules={**MODULES, "acme_detector_class": "import no_such_module"})
    with pytest.raises(
        ImportError, match=r"acme_detector: acme_detector_class:Acme cannot be imported.*no_such_module"
    ):
        create_detector("acme_detector")


def test_check_lists_what_is_installed(tmp_path: Path, install: Install) -> None:
    install()
    notes = check_project(read(tmp_path, "p: {model: vision_patchcore}")).notes
    said = ("detector acme_detector", "embedder acme_grey", "layout acme_tree")
    assert {f"plug-in: {one} of acme-uad 1.0" for one in said} <= set(notes)
