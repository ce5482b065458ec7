"""A checkpoint is loaded only if its digest is trusted, and what is loaded is what was looked at."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from tests.detectors.conftest import textures
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.anomalib import model as anomalib_model
from uad_orchestrator.detectors.anomalib.results import RawResult, whole
from uad_orchestrator.detectors.anomalib.trusted_files import UntrustedFile, checkpoint_files
from uad_orchestrator.detectors.protocol.stages import DetectorState

MODEL = "vision_anomalib_checkpoint"


class Hostile:
    """Its pickle leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    """A stand-in for loading: every content it was given, and a model that scores by the mean."""
    seen: list[dict[str, bytes]] = []

    class Means:
        device = "cpu"

        def run(self, images):
            return [RawResult(float(image.mean()), None, whole(image)) for image in images]

    def load(contents, name, network, device, *, safely=False):
        seen.append(dict(contents))
        return Means(), network

    monkeypatch.setattr(anomalib_model, "_load", load)
    return seen


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".xml", ".onnx"])
def test_nothing_of_an_untrusted_file_runs(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "mark")))
    for companion in checkpoint_files(path)[1:]:
        companion.write_bytes(b"")
    with pytest.raises(UntrustedFile) as refused:
        create_detector("vision_padim_anomalib", checkpoint=path).fit(textures(2))
    assert digest(path) in str(refused.value) and f"uad trust {path}" in str(refused.value)
    assert not (tmp_path / "mark").exists()


def test_each_file_of_a_checkpoint_has_to_be_trusted(tmp_path: Path, loaded) -> None:
    graph, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    graph.write_bytes(b"graph")
    weights.write_bytes(b"weights")
    with pytest.raises(UntrustedFile, match=r"model\.bin"):
        create_detector(MODEL, checkpoint=graph, trusted_checkpoints=[digest(graph)]).fit(textures(2))
    assert not loaded
    trusted = [digest(graph).upper(), digest(weights)]
    create_detector(MODEL, checkpoint=graph, trusted_checkpoints=trusted).fit(textures(2))
    assert loaded == [{"model.xml": b"graph", "model.bin": b"weights"}]


def test_what_is_loaded_is_what_was_checked(tmp_path: Path, loaded, monkeypatch) -> None:
    """The file is swapped right after it was read: the bytes that were checked are those that are loaded."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"good")
    trusted = [digest(path)]
    check = anomalib_model.check_trusted

    def check_then_swap(*args):
        check(*args)
        path.write_bytes(b"evil")

    monkeypatch.setattr(anomalib_model, "check_trusted", check_then_swap)
    create_detector(MODEL, checkpoint=path, trusted_checkpoints=trusted).fit_state(create_sources())
    assert loaded == [{"model.pt": b"good"}]


def create_sources():
    from uad_orchestrator.images.formats import sources_from

    return sources_from(textures(2), "rgb_u8_hwc")


def test_a_file_swapped_after_the_fit_is_refused_even_if_it_is_trusted(tmp_path: Path, loaded) -> None:
    path, kept = tmp_path / "model.pt", tmp_path / "kept"
    kept.mkdir()
    path.write_bytes(b"good")
    trusted = [digest(path), hashlib.sha256(b"other").hexdigest()]
    first = create_detector(MODEL, checkpoint=path, trusted_checkpoints=trusted)
    first.fit_state(create_sources()).save(kept)
    state = DetectorState.load(kept)
    assert state.files == {"model.pt": kept / "model.pt"}
    (kept / "model.pt").write_bytes(b"other")
    second = create_detector(MODEL, checkpoint=path, trusted_checkpoints=trusted)
    with pytest.raises(UntrustedFile, match=r"model\.pt is not the file that was looked at before"):
        list(second.respond(state, create_sources()))
    assert loaded == [{"model.pt": b"good"}]


def test_trust_that_was_taken_back_counts_for_what_was_fitted_before(tmp_path: Path, loaded) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"good")
    state = create_detector(MODEL, checkpoint=path, trusted_checkpoints=[digest(path)]).fit_state(
        create_sources()
    )
    with pytest.raises(UntrustedFile, match="not trusted"):
        list(create_detector(MODEL, checkpoint=path).respond(state, create_sources()))
