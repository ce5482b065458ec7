"""SuperADD: a bank per layer, maps averaged, tiles stitched token by token; a real ViT with random weights."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import DETECTORS, create_detector
from uad_orchestrator.detectors.bank.superadd import token_layers
from uad_orchestrator.detectors.bank.superadd_settings import TokenTileSettings
from uad_orchestrator.detectors.bank.token_tiles import TokenTiles
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step

WHOLE = {"tile_size": 1000, "overlap": 0}


class TwoLayers(CellMeans):
    """Means and spreads as two layers of tokens."""

    def recipe(self) -> dict:
        return {**super().recipe(), "layers": ["means", "spreads"], "norm": "none", "precision": "float32"}


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i:02}.png") for i, image in enumerate(images)]


def square(n: int, seed: int = 0) -> list[np.ndarray]:
    return textures(n, seed, (48, 48))


def test_a_map_is_the_mean_of_the_layers_distances() -> None:
    train, asked = square(5), with_spot(square(1, 9)[0])
    detector = create_detector("vision_superadd", embedder=TwoLayers(), tiles=WHOLE, n_neighbors=2)
    state = detector.fit_state(sources(train))
    (response,) = detector.respond(state, sources([asked]))
    bank = np.concatenate([e.patch_embeddings for e in CellMeans().embed_batch(train)]).astype(np.float64)
    rows = CellMeans().embed(asked).patch_embeddings
    expected = np.zeros(len(rows))
    for layer in (slice(0, 3), slice(3, 6)):
        between = np.linalg.norm(rows[:, None, layer] - bank[None, :, layer], axis=2)
        expected += np.sort(between, axis=1)[:, :2].mean(axis=1) / 2
    np.testing.assert_allclose(response.patch_grid.ravel(), expected, rtol=1e-4, atol=1e-4)
    assert response.score == pytest.approx(expected.max(), rel=1e-4)
    assert state.facts["layers"] == 2 and state.facts["bank_rows"] == 2 * len(bank)


def test_each_layer_is_thinned_to_so_many_rows_and_left_out_by_itself() -> None:
    train = sources(square(6))
    detector = create_detector("vision_superadd", embedder=TwoLayers(), tiles=WHOLE, max_rows=50)
    detector.fit(train)
    assert all(len(detector.state_.arrays[f"bank_{layer}"]) == 50 for layer in range(2))
    assert not np.array_equal(detector.state_.arrays["rows_0"], detector.state_.arrays["rows_1"])
    assert detector.image_point_.source.startswith("leave_one_image_out")
    whole = create_detector("vision_superadd", embedder=TwoLayers(), tiles=WHOLE).fit(train)
    assert max(r.score for r in whole.respond(whole.state_, train)) < 1e-3 < min(whole.decision_scores_)


def test_embedders_that_pool_their_layers_have_one() -> None:
    assert token_layers({"layers": ["layer2", "layer3"], "dimension": 1024}) == 1
    assert token_layers({"layers": ["2", "5"], "norm": "none"}) == 2
    assert token_layers({"embedder": "filter_bank"}) == 1


class PlaceTokens:
    """Tokens that say which tile they are from and where in it they lie; 4 px each."""

    def __init__(self) -> None:
        self.seen = 0

    def recipe(self) -> dict:
        return {"name": "places"}

    def embed(self, image: np.ndarray) -> PatchEmbedding:
        return self.embed_batch([image])[0]

    def embed_batch(self, images: Sequence[np.ndarray]) -> list[PatchEmbedding]:
        self.seen += len(images)
        return [self._embed(image) for image in images]

    def _embed(self, image: np.ndarray) -> PatchEmbedding:
        side = image.shape[0] // 4
        row, column = np.indices((side, side)).reshape(2, -1)
        colour = image[::4, ::4].reshape(-1, 3)[:, :2]  # where in the whole image the token lies
        rows = np.column_stack([colour, np.abs(row + 0.5 - side / 2), np.abs(column + 0.5 - side / 2)])
        return PatchEmbedding(rows.astype(np.float32), (side, side), image.shape[:2])


@pytest.mark.parametrize(
    ("size", "tiles"), [((64, 64), 9), ((40, 100), 12), ((32, 32), 1), ((62, 33), 3), ((20, 50), 5)]
)
def test_each_token_is_that_of_the_tile_in_which_it_is_most_central(
    size: tuple[int, int], tiles: int
) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0], image[..., 1] = np.indices(size)
    inner = PlaceTokens()
    found = TokenTiles(inner, TokenTileSettings(tile_size=32, overlap=0.5)).embed(image)
    gh, gw = size[0] // 4, size[1] // 4
    assert (found.grid_shape, found.region) == ((gh, gw), (0, 0, gh * 4, gw * 4))
    grid = found.patch_embeddings.reshape(gh, gw, 4)
    assert np.array_equal(grid[..., 0], np.repeat(np.arange(gh)[:, None] * 4, gw, axis=1))
    assert np.array_equal(grid[..., 1], np.repeat(np.arange(gw)[None] * 4, gh, axis=0))
    side = min(32, *size) // 4
    for axis, length in ((2, gh), (3, gw)):
        starts = [*range(0, length - side, round(side / 2)), length - side]
        centrality = [min(abs(t + 0.5 - s - side / 2) for s in starts) for t in range(length)]
        line = grid[:, 0, 2] if axis == 2 else grid[0, :, 3]
        assert np.array_equal(line, np.float32(centrality))
    assert inner.seen == tiles


def test_behind_a_region_the_banks_hold_tokens_of_its_inside_alone() -> None:
    image = np.zeros((48, 80, 3), np.uint8)
    image[..., 0], image[..., 1] = np.indices((48, 80))
    roi = parse_step({"roi": {"left": 30, "top": 8, "right": 80, "bottom": 48, "unit": "pixels"}})
    detector = create_detector(
        "vision_superadd",
        embedder=PlaceTokens(),
        preset=Preset("part", (roi,)),
        tiles={"tile_size": 32, "overlap": 0.5},
    )
    bank = detector.fit_state(sources([image])).arrays["bank_0"]
    # tokens of 4 px; from half inside on they are inspected
    assert np.unique(bank[:, 0]).tolist() == list(range(8, 48, 4))
    assert np.unique(bank[:, 1]).tolist() == list(range(28, 80, 4))
    assert len(bank) == 10 * 13


def test_tiles_have_their_own_place_in_the_cache(tmp_path: object) -> None:
    from uad_orchestrator.storage.embedding_cache import EmbeddingCache

    cache, embedder = EmbeddingCache(tmp_path), TwoLayers()  # type: ignore[arg-type]
    for tiles in (WHOLE, {"tile_size": 32}, WHOLE):
        detector = create_detector("vision_superadd", embedder=embedder, cache=cache, tiles=tiles)
        detector.fit_state(sources(square(2)))
    assert embedder.seen == 2 + 2 * 4


def test_an_uneven_grid_on_a_square_tile_is_an_error() -> None:
    class Uneven(CellMeans):
        def _embed(self, image: np.ndarray) -> PatchEmbedding:
            return super()._embed(image[:, :-8])

    with pytest.raises(ValueError, match=r"\(6, 5\): token tiles need a square one"):
        create_detector("vision_superadd", embedder=Uneven()).fit(square(2))


def test_layers_of_a_vit_as_its_blocks_leave_them_find_a_defect_on_a_non_square_image() -> None:
    pytest.importorskip("timm", reason="extra torch not installed")
    embedder = EmbedderSettings(
        name="vit_tiny_patch16_224", weights="random:0", image_size=64, layers=("0", "1"), norm="none"
    )
    detector = create_detector("vision_superadd", embedder=embedder, tiles={"tile_size": 64}, device="cpu")
    train = [np.full((64, 112, 3), level, np.uint8) for level in (120, 128, 136)]
    detector.fit(train)
    assert detector.state_.facts["layers"] == 2
    assert detector.state_.arrays["bank_0"].shape == (3 * 4 * 7, 192)
    asked = train[1].copy()
    asked[16:32, 80:96] = (255, 0, 0)
    row, column = np.unravel_index(detector.get_anomaly_map(asked).argmax(), (64, 112))
    assert 12 <= row < 36 and 76 <= column < 100


def test_the_default_is_dinov2_without_its_norm() -> None:
    embedder = DETECTORS["vision_superadd"].default_embedder
    assert embedder.name == "vit_small_patch14_dinov2.lvd142m"
    assert (embedder.norm, embedder.layers) == ("none", ("2", "5", "8", "11"))
