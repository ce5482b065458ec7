"""Anomalib itself: models trained by our path, read in every format, and through Dagster. One file, one import."""

from __future__ import annotations

import hashlib
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.detectors.anomalib_models import MODELS, training
from tests.detectors.conftest import textures, with_spot
from tests.orchestration.workshop import Workshop, computed
from uad_orchestrator.detectors import DETECTORS, create_detector
from uad_orchestrator.detectors.anomalib.names import BANK_MODELS, KNOWN_MODELS, anomalib_models, model_of
from uad_orchestrator.detectors.anomalib.trusted_files import UntrustedFile
from uad_orchestrator.detectors.protocol.detector import Detector
from uad_orchestrator.detectors.protocol.stages import DetectorState
from uad_orchestrator.embedders.weights import WeightsError
from uad_orchestrator.images.formats import sources_from
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.inference import Bundle, infer, load_bundle, save_bundle
from uad_orchestrator.inference.bundle import Calibration
from uad_orchestrator.orchestration.assets.metadata import describe_stage
from uad_orchestrator.orchestration.cells.board import report_of
from uad_orchestrator.orchestration.cells.cell_run import CellRun
from uad_orchestrator.orchestration.versions.graph import STAGES, Cell
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.preprocessing.presets import resolve_preset

pytest.importorskip("anomalib", reason="extra anomalib not installed")

SUFFIXES = (".pt", ".ckpt", ".xml", ".onnx")
IMAGES = [*textures(3, seed=5), with_spot(textures(1, seed=6)[0]), *textures(2, seed=7, size=(60, 36))]


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return sources_from(images, "rgb_u8_hwc")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("network", MODELS)
def test_every_format_gives_the_same_raw_scores_and_maps(trained, network: str, suffix: str) -> None:
    original = trained[network].detector
    model = "vision_anomalib_checkpoint" if suffix == ".pt" else f"vision_{network}_anomalib"
    loaded = trained[network].loaded(suffix, model).fit(textures(3))
    scores = original.decision_function(IMAGES)
    assert len(set(scores)) == len(IMAGES) and scores.max() > 1.0, "raw: nothing is cut off at 1"
    assert loaded.decision_function(IMAGES) == pytest.approx(scores, rel=2e-3)
    for mine, theirs in zip(
        loaded.predict_anomaly_map(IMAGES), original.predict_anomaly_map(IMAGES), strict=True
    ):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() <= 2e-3 * np.abs(theirs).max()


def test_baked_in_normalisation_would_tie_what_the_raw_scores_tell_apart(trained) -> None:
    """The exported model itself clamps to 0..1; so this test can fail."""
    import torch

    module = trained["padim"].detector._model(trained["padim"].detector.state_).module  # type: ignore[attr-defined]
    batch = torch.from_numpy(np.stack(IMAGES[:4]).astype(np.float32) / 255).permute(0, 3, 1, 2)
    with torch.inference_mode():
        baked = module(batch).pred_score.flatten().tolist()
    assert min(baked) >= 0 and max(baked) == 1.0


def test_one_image_alone_or_in_a_batch(trained) -> None:
    for item in trained.values():
        fresh = create_detector(
            f"vision_{item.detector.state_.facts['network']}_anomalib", train={}, device="cpu"
        )
        together = [r.score for r in fresh.respond(item.detector.state_, sources(IMAGES))]
        alone = [next(iter(fresh.respond(item.detector.state_, [s]))).score for s in sources(IMAGES)]
        assert together == pytest.approx(alone, rel=1e-4)


def test_a_defect_raises_the_score_and_lights_up_in_the_map(trained) -> None:
    detector = trained["patchcore"].detector
    normal = textures(1, seed=6)[0]
    spoiled = with_spot(normal, top=8, left=40)
    assert detector.decision_function([spoiled])[0] > detector.decision_function([normal])[0]
    change = detector.get_anomaly_map(spoiled) - detector.get_anomaly_map(normal)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert 0 <= row < 24 and 32 <= column < 56


def test_the_checkpoint_has_to_be_of_the_detectors_class(trained) -> None:
    item = trained["patchcore"]
    with pytest.raises(ValueError, match=r"holds a Patchcore.*vision_patchcore_anomalib"):
        item.loaded(".pt", "vision_padim_anomalib").fit(textures(2))
    with pytest.raises(ValueError, match=r"no Lightning checkpoint of Padim.*vision_<name>_anomalib"):
        item.loaded(".ckpt", "vision_padim_anomalib").fit(textures(2))


def test_a_lightning_checkpoint_is_told_from_an_exported_one(trained, tmp_path: Path) -> None:
    item = trained["padim"]
    with pytest.raises(ValueError, match=r"does not say which model.*vision_padim_anomalib"):
        item.loaded(".ckpt", "vision_anomalib_checkpoint").fit(textures(2))
    renamed = tmp_path / "model.pt"
    renamed.write_bytes(item.files[".ckpt"].read_bytes())
    detector = create_detector("vision_padim_anomalib", checkpoint=renamed, trusted_checkpoints=item.trusted)
    with pytest.raises(ValueError, match=r"a Lightning checkpoint is called \.ckpt"):
        detector.fit(textures(2))


@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_values_that_are_not_finite_are_refused(trained, tmp_path: Path, suffix: str) -> None:
    import torch

    path = tmp_path / f"odd{suffix}"
    stored = torch.load(trained["padim"].files[suffix], weights_only=False)
    tensors = stored["model"].state_dict() if suffix == ".pt" else stored["state_dict"]
    name = next(name for name in tensors if name.startswith("model.") and "conv1" in name)
    tensors[name][0] = float("nan")
    torch.save(stored, path)
    trusted = [hashlib.sha256(path.read_bytes()).hexdigest()]
    detector = create_detector(
        "vision_padim_anomalib", checkpoint=path, trusted_checkpoints=trusted, device="cpu"
    )
    with pytest.raises(WeightsError, match=rf"odd\{suffix}: '.*conv1.*' holds values that are not finite"):
        detector.fit(textures(2))


def bundled(detector: Detector, model: str, settings: dict[str, Any], folder: Path) -> Path:
    points = Calibration(detector.image_point_, detector.pixel_point_, (), (), {})
    stages = DETECTORS[model].cut(settings)
    made = Bundle("line7/part", model, stages, None, resolve_preset("plain"), None, detector.state_, points)
    return save_bundle(made, folder)


def test_a_bundle_carries_the_checkpoint_and_loads_it_when_it_is_trusted(trained, tmp_path: Path) -> None:
    item = trained["padim"]
    settings = {"train": training("padim"), "contamination": 0.3}
    folder = bundled(item.detector, "vision_padim_anomalib", settings, tmp_path / "trained")
    found = list(infer(folder, IMAGES))
    assert [result.score for result in found] == list(item.detector.decision_function(IMAGES))
    assert np.array_equal(found[0].anomaly_map, item.detector.get_anomaly_map(IMAGES[0]))
    exported = item.loaded(".pt", "vision_anomalib_checkpoint").fit(textures(3))
    folder = bundled(exported, "vision_anomalib_checkpoint", {}, tmp_path / "exported")
    with pytest.raises(UntrustedFile, match="not trusted"):
        list(infer(load_bundle(folder), IMAGES))
    trusting = load_bundle(folder, trusted=item.trusted)
    assert [r.score for r in infer(trusting, IMAGES)] == list(exported.decision_function(IMAGES))


def test_training_is_the_same_for_a_seed_and_leaves_the_process_as_it_was(trained, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    again = create_detector(
        "vision_padim_anomalib", train=training("padim"), device="cpu", folder=tmp_path, contamination=0.3
    ).fit(textures(10))
    assert torch.equal(torch.rand(3), expected)
    first = trained["padim"].detector
    assert np.array_equal(again.decision_function(IMAGES), first.decision_function(IMAGES))
    facts = first.state_.facts
    assert (facts["train_images"], facts["withheld_images"]) == (8, 2)
    assert first.image_point_.source.startswith("held_out") and first.image_point_.n == 2


@dataclass
class Reads:
    """Normals that note when they are read, and can break off."""

    names: list[str]
    left: float = np.inf

    def sources(self, images: list[np.ndarray]) -> list[ImageSource]:
        return [ImageSource(s.name, s.digest, s.group, lambda s=s: self._read(s)) for s in sources(images)]

    def _read(self, source: ImageSource) -> np.ndarray:
        if self.left <= 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.names.append(source.name)
        return source.read()


def test_a_training_that_was_cut_off_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    """Eight images an epoch, two to validate: it breaks off in the third of four epochs."""

    def detector() -> Detector:
        return create_detector(
            "vision_ganomaly_anomalib",
            train=training("ganomaly", max_epochs=4),
            device="cpu",
            folder=tmp_path,
        )

    reads = Reads([], left=25)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        detector().fit_state(reads.sources(textures(10)))
    assert signal.getsignal(signal.SIGINT) is handler, "the next Ctrl-C is heard, too"
    reads = Reads([])
    state = detector().fit_state(reads.sources(textures(10)))
    assert state.facts["resumed"] and state.facts["epochs"] == 4
    assert len(reads.names) == 20, "two epochs were left"
    steps = [step for step, _ in state.facts["curves"]["generator_loss_step"]]
    assert steps[0] == 0 and len(steps) >= 8, "the curve has what came before the cut, too"
    response = next(iter(detector().respond(state, sources(textures(1)))))
    assert response.patch_grid is None and np.isfinite(response.score), "GANomaly gives a score and no map"


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it leave anything elsewhere: there is no system's temporary folder here. A line of the log is torn,
    too."""
    import torch

    save, checkpoint = torch.save, tmp_path / "training" / "model.ckpt"

    def cut_off(values: Any, place: Path, *arguments: Any, **options: Any) -> None:
        if checkpoint.exists():
            place.write_bytes(b"half of it")
            raise KeyboardInterrupt
        save(values, place, *arguments, **options)

    def detector() -> Detector:
        train = training("ganomaly", max_epochs=3)
        return create_detector(
            "vision_ganomaly_anomalib", train=train, device="cpu", folder=checkpoint.parent
        )

    normals = sources(textures(10))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", cut_off)
        patch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        detector().fit_state(normals)
    (log,) = checkpoint.parent.glob("log/*/metrics.csv")
    with log.open("a") as lines:
        lines.write("1,0.")
    state = detector().fit_state(normals)
    assert state.facts["resumed"] and state.facts["epochs"] == 3
    assert not list(checkpoint.parent.glob("*.part"))


@pytest.mark.parametrize("network", [*MODELS, "ganomaly"])
def test_a_training_killed_after_its_last_epoch_is_not_trained_again(tmp_path: Path, network: str) -> None:
    """What was left to do is the artifact."""

    def fitted(reads: Reads) -> tuple[DetectorState, list[float]]:
        train = training(network, max_epochs=2)
        made = create_detector(f"vision_{network}_anomalib", train=train, device="cpu", folder=tmp_path)
        state = made.fit_state(reads.sources(textures(10)))
        return state, [response.score for response in made.respond(state, sources(IMAGES))]

    (first, scores), reads = fitted(Reads([])), Reads([])
    again, same = fitted(reads)
    assert again.facts["resumed"] and again.facts["epochs"] == first.facts["epochs"]
    assert not reads.names and same == scores


def test_a_checkpoint_is_read_without_the_weights_it_was_begun_from(tmp_path: Path) -> None:
    """STFPM has no argument to leave them out; its checkpoint holds them all."""
    import torch
    from anomalib.models import Stfpm
    from lightning.pytorch import Trainer

    from uad_orchestrator.detectors.anomalib.fetching import weights_come_later
    from uad_orchestrator.detectors.anomalib.torch_network import read_lightning

    with weights_come_later():
        module = Stfpm(backbone="resnet18", layers=["layer1"])
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    read = read_lightning((tmp_path / "model.ckpt").read_bytes(), "model.ckpt", "stfpm", safely=True)
    # what the post-processor has not learnt yet is NaN, which is equal to nothing
    torch.testing.assert_close(read.state_dict(), module.state_dict(), rtol=0, atol=0, equal_nan=True)


def test_what_can_not_be_trained_says_why(tmp_path: Path) -> None:
    def refusal(network: str, images: int = 4, **train: Any) -> str:
        with pytest.raises((ValueError, RuntimeError)) as refused:
            create_detector(f"vision_{network}_anomalib", train=train, device="cpu").fit(textures(images))
        return str(refused.value)

    assert "Imagenette" in refusal("efficientad") and "download: true" in refusal("efficientad")
    assert "zero-shot" in refusal("winclip")
    assert "at least two parts" in refusal("padim", images=1)
    assert "no argument 'backbon'" in refusal("padim", model={"backbon": "resnet18"})
    missing = refusal("padim", model={"backbone": "resnet18.tv_in1k"})
    assert "not on this machine" in missing and "pre_trained: false" in missing


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop.build(tmp_path, {"alpha": ["disc"]}, train=8)
    detectors = {"padim": {"model": "vision_padim_anomalib", "train": training("padim"), "preset": "bright"}}
    workshop.edit(lambda values: values.update(detectors=detectors))
    return workshop


def test_no_test_image_reaches_the_engine(workshop: Workshop, monkeypatch) -> None:
    """A trained cell through Dagster; what the Engine is given is looked at while it trains."""
    from anomalib.engine import Engine

    given: dict[str, set[str]] = {}
    fit = Engine.fit

    def watched(self: Any, model: Any, training: Any, validation: Any, **more: Any) -> None:
        for name, loader in (("train", training), ("validation", validation)):
            given[name] = {path for batch in loader for path in batch.image_path}
        fit(self, model, training, validation, **more)

    monkeypatch.setattr(Engine, "fit", watched)
    result = workshop.refresh()
    assert not result.failed
    assert len(computed(result)) == 4
    normals = {f"disc/train/good/{i:03}.png" for i in range(8)}
    assert given["train"] | given["validation"] == normals, "training normals, and nothing else"
    assert not given["train"] & given["validation"] and len(given["validation"]) == 2

    cell, state, store = (
        Cell("alpha/disc", "padim"),
        open_state(workshop.project),
        open_store(workshop.project),
    )
    report = report_of(cell, state, store)
    assert report is not None
    assert report.counts.n_calibration == 2
    assert report.image_operating_point.source.startswith("held_out")
    assert report.metrics["pixel_auroc"] is not None
    run = CellRun(cell, state, store)
    bank = run.directory("memory_bank")
    assert {"model.ckpt", "training.csv"} <= {path.name for path in bank.iterdir()}
    shown = describe_stage("memory_bank", bank, run.provenance("memory_bank"))
    assert {"curves", "training_log", "epochs", "train_images"} <= set(shown)
    assert not list((workshop.home / ".uad/training").iterdir()), "the artifact has what came out of it"
    assert not workshop.plan().stale

    workshop.edit(lambda values: values["detectors"]["padim"].update(contamination=0.2))
    stale = {node.asset for node in workshop.plan().stale}
    assert stale & set(STAGES) == {"score_table", "anomaly_maps", "metrics_report"}, (
        "nothing is trained again"
    )


def test_every_model_of_the_installed_anomalib_is_a_detector() -> None:
    from anomalib.models.components import MemoryBankMixin

    from uad_orchestrator.detectors.anomalib.torch_network import model_class

    assert set(KNOWN_MODELS) <= set(anomalib_models())
    classes = {model_of(name): model_class(model_of(name) or "") for name in DETECTORS if model_of(name)}
    assert len(set(classes.values())) == len(classes) >= len(KNOWN_MODELS)
    assert {name for name, cls in classes.items() if issubclass(cls, MemoryBankMixin)} == BANK_MODELS
    assert model_of("vision_efficientad_anomalib") == "efficient_ad"


def test_a_centre_crop_covers_the_middle_of_the_image_only(trained) -> None:
    """Anomalib's crop is not stretched over the whole image (as pitfall 09)."""
    from copy import deepcopy

    from anomalib.models import Patchcore

    from uad_orchestrator.detectors.anomalib.torch_network import TorchModel

    module = deepcopy(trained["patchcore"].detector._model(trained["patchcore"].detector.state_).module)  # type: ignore[attr-defined]
    module.pre_processor = Patchcore.configure_pre_processor((64, 64), center_crop_size=(32, 48))
    result = TorchModel(module, "cpu").run([np.zeros((128, 256, 3), np.uint8)])[0]
    assert result.region == (32.0, 32.0, 96.0, 224.0)
    assert result.anomaly_map is not None and result.anomaly_map.shape == (32, 48)
