"""Search, re-weighting, maps and position embeddings against those that detectors use; nothing is exported."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from uad_orchestrator.detectors.bank import bank as our_bank  # noqa: E402
from uad_orchestrator.detectors.bank.patchcore import reweighting as our_reweighting  # noqa: E402
from uad_orchestrator.detectors.protocol.maps import MapRecipe  # noqa: E402
from uad_orchestrator.detectors.protocol.settings import MapSettings  # noqa: E402
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response  # noqa: E402
from uad_orchestrator.embedders.protocol import Region  # noqa: E402
from uad_orchestrator.export.onnx import search  # noqa: E402
from uad_orchestrator.export.onnx.maps import anomaly_map  # noqa: E402
from uad_orchestrator.export.onnx.network import _with_positions  # noqa: E402
from uad_orchestrator.memory.nearest import NearestNeighbors  # noqa: E402
from uad_orchestrator.postprocess.finishing import MapScale  # noqa: E402

MAPS = [
    {"gaussian_sigma": 4.0},
    {"gaussian_sigma": 0.0},
    {"gaussian_sigma": 2.0, "sigma_space": "image", "clip": [0.2, 0.6]},
    {"normalisation": "normal_maps", "clip": [None, 1.0]},
    {"morphology": {"operation": "opening", "size": 5}},
    {"morphology": {"operation": "closing", "size": 7, "shape": "square"}},
    {"morphology": {"operation": "dilation", "size": 9}},
    {"morphology": {"operation": "erosion", "size": 3}},
]


def state(rows: np.ndarray) -> DetectorState:
    facts = {"images": [], "precision": "float32", "normalised": False}
    return DetectorState({"bank": rows, "row_starts": np.array([0])}, facts)


def close_rows(count: int, dimension: int = 24) -> np.ndarray:
    """Long vectors that lie close, of which the expanded square says little."""
    draws = np.random.default_rng(0)
    return (300 + draws.normal(0, 0.5, (count, dimension))).astype(np.float32)


@pytest.mark.parametrize("block", [search.BLOCK_ROWS, 100], ids=["one block", "several"])
@pytest.mark.parametrize("k", [1, 4])
def test_search_is_ours(monkeypatch: pytest.MonkeyPatch, k: int, block: int) -> None:
    monkeypatch.setattr(search, "BLOCK_ROWS", block)
    rows, asked = close_rows(250), close_rows(60)[::-1] + np.float32(0.1)
    bank = search.Bank.of(state(rows))
    squared, index = bank.nearest(torch.from_numpy(np.ascontiguousarray(asked)) - bank.centre, k)
    expected, numbers = NearestNeighbors(rows).search(np.ascontiguousarray(asked), k)
    assert np.array_equal(index.numpy(), numbers)
    assert np.allclose(squared.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("alike", [False, True], ids=["different rows", "rows all alike"])
@pytest.mark.parametrize("neighbors", [3, 9, 400])
def test_reweighting_is_ours(neighbors: int, alike: bool) -> None:
    rows = close_rows(50)
    rows = np.repeat(rows[:1], 50, axis=0) if alike else rows
    match = 20  # of rows all alike it is not among the few that are found first or last
    patch = rows[match] + np.float32(0.3)
    bank, ours = search.Bank.of(state(rows)), our_bank.Bank(state(rows))
    centred = torch.from_numpy(patch)[None] - bank.centre
    found = search.reweighting(bank, centred, torch.tensor([match]), neighbors)
    assert found.item() == pytest.approx(our_reweighting(patch, match, ours, neighbors), rel=1e-5)


def test_rows_are_rounded_and_brought_to_length_1_as_ours() -> None:
    rows = np.concatenate([close_rows(5), np.zeros((1, 24), np.float32)])
    assert np.allclose(search.unit_rows(torch.from_numpy(rows)).numpy(), our_bank.unit_rows(rows), atol=1e-7)
    assert np.array_equal(search.rounded(torch.from_numpy(rows), "float16").numpy(), rows.astype(np.float16))
    large = rows * 1000
    assert np.array_equal(search.rounded(torch.from_numpy(large), "float16").numpy(), large)


@pytest.mark.parametrize("values", MAPS, ids=str)
@pytest.mark.parametrize("size", [(60, 90), (21, 16)], ids=str)
def test_a_map_is_ours(values: dict, size: tuple[int, int]) -> None:
    settings = MapSettings(**values)
    grid = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    kept, input_size, scale = (0.9, 1.0), (40, 56), MapScale(0.3, 0.2)
    region = Region(0, 0, size[0] * kept[0], size[1] * kept[1])
    response = Response("x", 0.0, grid, region, size, input_size, 0.0)
    expected = MapRecipe(settings).anomaly_map(response, scale, float("nan"))
    sides = (tuple(map(torch.tensor, each)) for each in (kept, size, input_size))
    found = anomaly_map(torch.from_numpy(grid), *sides, settings, scale)
    assert np.allclose(found.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("size", [(6, 6), (4, 9)], ids=str)
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"reg_tokens": 2},
        {"reg_tokens": 2, "no_embed_class": True},
        {"class_token": False, "global_pool": "avg"},
    ],
    ids=str,
)
def test_position_embeddings_are_timms(kind: dict, size: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm.models.vision_transformer", reason="needs the torch extra")
    torch.manual_seed(0)
    model = timm.VisionTransformer(
        img_size=48,
        patch_size=8,
        embed_dim=16,
        depth=1,
        num_heads=2,
        num_classes=0,
        dynamic_img_size=True,
        **kind,
    ).eval()
    patches = torch.randn(1, *size, 16)
    with torch.no_grad():
        assert torch.allclose(
            _with_positions(model, patches, hub=False), model._pos_embed(patches), atol=1e-5
        )
