"""A project file as people write it, and the Project it becomes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from uad_orchestrator.datasets.layout_settings import DATASET_KEYS
from uad_orchestrator.detectors.bank.anomaly_dino_settings import AnomalyDinoFit
from uad_orchestrator.detectors.bank.patchcore_settings import PatchCoreFit, PatchCoreScoring
from uad_orchestrator.project import (
    DEMO_YAML,
    INIT_YAML,
    Project,
    ProjectError,
    demo_project,
    load_project,
    read_again,
    read_project,
)
from uad_orchestrator.project.settings import DatasetSettings

MINIMAL = "datasets: {demo: {}}\ndetectors: {p: {model: vision_patchcore}}\n"


def load(home: Path, text: str, **options: bool) -> Project:
    home.mkdir(exist_ok=True)
    (home / "uad.yaml").write_text(text, encoding="utf-8")
    return load_project(home, **options)


def make_category(root: Path, name: str) -> None:
    (root / name / "train" / "good").mkdir(parents=True)


def test_the_written_texts_are_valid_projects(tmp_path):
    demo = load(tmp_path / "demo", DEMO_YAML)
    assert demo == demo_project(tmp_path / "demo")
    assert len(demo.datasets) == 1 and len(demo.detectors) == 3 and len(demo.category_keys()) >= 3
    mine = load(tmp_path / "mine", INIT_YAML)
    assert mine.detectors["patchcore"].embedder.name == "filter_bank"
    assert mine.unreachable["line7"], "its root does not exist yet: a reason, not a failure"


def test_the_commented_lines_of_init_are_valid_too(tmp_path):
    """Whoever takes the # away from an example gets a project that loads."""
    head, _, tail = INIT_YAML.partition("storage:")
    lines = [line.replace("  # ", "  ", 1) if line.startswith("  # ") else line for line in tail.splitlines()]
    project = load(tmp_path, head + "storage:" + "\n".join(lines), allow_missing_files=True)
    assert {"patchcore_resnet18", "anomalydino"} <= set(project.detectors)
    assert project.detectors["anomalydino"].embedder.name == "vit_small_patch14_dinov2.lvd142m"
    assert project.datasets["mvtec_ad"].layout == "mvtec_ad"
    assert set(project.missing_files) == {
        "detectors.patchcore_resnet18.embedder.weights",
        "detectors.anomalydino.embedder.weights",
    }


def test_the_demo_writes_nothing_and_its_categories_are_known_beforehand(tmp_path):
    project = demo_project(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    assert not project.unreachable
    assert len(project.cells()) == len(project.category_keys()) * 3 >= 9


def test_settings_are_cut_into_the_stage_that_reads_them(tmp_path):
    text = """
    datasets: {demo: {}}
    detectors:
      p: {model: vision_patchcore, coreset: {ratio: 0.01}, seed: 3, n_neighbors: 5, contamination: 0.1,
          maps: {gaussian_sigma: 2}, embedder: filter_bank}
      d: {model: vision_anomalydino, embedder: filter_bank, references: {k: 2}, maps: {gaussian_sigma: 2}}
    """
    detectors = load(tmp_path, text).detectors
    p, d = detectors["p"], detectors["d"]
    assert p.fit == PatchCoreFit(coreset={"ratio": 0.01}, seed=3)
    assert p.scoring == PatchCoreScoring(n_neighbors=5, contamination=0.1)
    assert isinstance(d.fit, AnomalyDinoFit) and d.fit.references.k == 2
    assert (p.maps.gaussian_sigma, p.maps.sigma_space) == (2, "input")
    assert (d.maps.gaussian_sigma, d.maps.sigma_space) == (2, "image"), "the model's own default stays"


def test_what_a_project_holds_survives_serialisation(tmp_path):
    """The subclasses' fields too: they are what versions are made of."""
    dumped = load(tmp_path, MINIMAL).model_dump(mode="json")
    assert dumped["detectors"]["p"]["fit"]["coreset"]["method"] == "batched_greedy"
    assert dumped["detectors"]["p"]["scoring"]["n_neighbors"] == 1


def test_an_embedder_without_a_name_refines_the_models_own(tmp_path):
    text = """
    datasets: {demo: {}}
    detectors:
      d: {model: vision_anomalydino, embedder: {image_size: 672}}
      e: {model: vision_anomalydino, embedder: {name: filter_bank}}
    """
    detectors = load(tmp_path, text).detectors
    assert detectors["d"].embedder.name == "vit_small_patch14_dinov2.lvd142m"
    assert detectors["d"].embedder.image_size == 672
    assert detectors["e"].embedder.name == "filter_bank"


def test_paths_are_relative_to_the_project_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "storage: {root: store}\ndatasets: {mvtec_ad: {root: ../images}}\n" + MINIMAL.splitlines()[1]
    project = load(Path("here"), text)
    assert project.home == tmp_path / "here"
    assert project.storage.root == str(tmp_path / "here" / "store")
    assert project.storage.local == tmp_path / "here" / "store"
    assert project.datasets["mvtec_ad"].root == tmp_path / "images"


def test_remote_artifacts_keep_their_indexes_here(tmp_path):
    project = load(tmp_path, "storage: {root: 's3://bucket/uad'}\n" + MINIMAL)
    assert project.storage.root == "s3://bucket/uad"
    assert project.storage.local == tmp_path / ".uad"


def test_categories_default_to_those_found(tmp_path):
    for name in ("screw", "bottle"):
        make_category(tmp_path / "images", name)
    text = """
    datasets:
      mine: {layout: folder, root: images}
      some: {layout: folder, root: images, categories: [screw]}
      gone: {layout: folder, root: gone, categories: [nut]}
      lost: {layout: folder, root: lost}
    detectors: {p: {model: vision_patchcore}, q: {model: vision_patchcore, coreset: {ratio: 0.5}}}
    """
    project = load(tmp_path, text)
    assert project.category_keys() == ["mine/bottle", "mine/screw", "some/screw", "gone/nut"]
    assert project.cells()[:2] == [("mine/bottle", "p"), ("mine/bottle", "q")]
    assert set(project.unreachable) == {"gone", "lost"}
    assert "cannot be reached" in project.unreachable["lost"] or "lost" in project.unreachable["lost"]


def test_a_declared_category_that_is_not_there_is_named_with_the_nearest(tmp_path):
    make_category(tmp_path / "images", "bottle")
    text = "datasets: {mvtec_ad: {root: images, categories: [botle]}}\n" + MINIMAL.splitlines()[1]
    project = load(tmp_path, text)
    assert project.category_keys() == ["mvtec_ad/botle"], "its cells stay, and fail with the reason"
    assert "did you mean 'bottle'" in project.unreachable["mvtec_ad/botle"]


def test_a_folder_that_cannot_name_a_partition_is_said_not_dropped(tmp_path):
    for name in ("good_one", "a,b"):
        make_category(tmp_path / "images", name)
    project = load(tmp_path, "datasets: {mvtec_ad: {root: images}}\n" + MINIMAL.splitlines()[1])
    assert project.category_keys() == ["mvtec_ad/good_one"]
    assert "','" in project.unreachable["mvtec_ad/a,b"]


def test_missing_weights_are_an_error_unless_they_are_asked_to_wait(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "resnet18.pth").touch()
    entry = "{model: vision_patchcore, embedder: {name: resnet18, weights: w/resnet81.pth}}"
    text = MINIMAL.replace("{model: vision_patchcore}", entry)
    with pytest.raises(ProjectError) as raised:
        load(tmp_path, text)
    (problem,) = raised.value.problems
    assert problem.place == ("detectors", "p", "embedder", "weights") and problem.line == 2
    assert str(tmp_path / "w" / "resnet81.pth") in problem.what and "resnet18.pth" in problem.advice
    assert list(load(tmp_path, text, allow_missing_files=True).missing_files) == [
        "detectors.p.embedder.weights"
    ]


def test_no_project_file_is_an_error_with_the_way_out(tmp_path):
    with pytest.raises(ProjectError, match="uad init"):
        load_project(tmp_path)
    assert read_project(tmp_path) == demo_project(tmp_path), "a code location shows the demo instead"
    (tmp_path / "uad.yaml").write_text("datasets: 3")
    with pytest.raises(ProjectError):
        read_project(tmp_path)


def test_a_project_read_again_keeps_the_names_it_was_loaded_with(tmp_path):
    loaded = load(tmp_path, MINIMAL + "\ndagster: {key_prefix: line7}")
    assert read_again(loaded) == loaded
    edited = MINIMAL + "\nruntime: {workers: 3}\ndagster: {key_prefix: elsewhere}"
    now = load(tmp_path, edited)
    assert (read_again(loaded).runtime.workers, read_again(loaded).dagster.key_prefix) == (3, ("line7",))
    assert now.dagster.key_prefix == ("elsewhere",)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"detectors: \xe4"])
def test_a_file_that_is_not_text_is_an_error(tmp_path, content):
    (tmp_path / "uad.yaml").write_bytes(content)
    with pytest.raises(ProjectError, match="UTF-8"):
        load_project(tmp_path)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "uad.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_project(tmp_path).cells()


def test_loading_imports_nothing_heavy(tmp_path):
    (tmp_path / "uad.yaml").write_text(MINIMAL)
    heavy = "{'torch', 'cv2', 'sklearn', 'scipy', 'skimage', 'matplotlib', 'pyarrow', 'faiss', 'dagster'}"
    code = (
        "import sys, pathlib; from uad_orchestrator.project import load_project; "
        f"load_project(pathlib.Path(sys.argv[1])); print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_keys_that_no_layout_may_have_are_those_of_every_dataset() -> None:
    assert set(DatasetSettings.model_fields) - {"layout_settings"} == DATASET_KEYS
