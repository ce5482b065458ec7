"""PatchCore against brute force and anomalib."""

from pathlib import Path

import numpy as np
import pytest

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.bank.bank import Bank
from uad_orchestrator.detectors.bank.patchcore import reweighting
from uad_orchestrator.detectors.bank.rows import building as bank_building
from uad_orchestrator.detectors.protocol.stages import DetectorState, Response
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.storage.embedding_cache import EmbeddingCache

NONE = {"method": "none"}


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i:02}.png") for i, image in enumerate(images)]


def rows_of(images: list[np.ndarray]) -> np.ndarray:
    rows = np.concatenate([e.patch_embeddings for e in CellMeans().embed_batch(images)])
    return rows.astype(np.float16).astype(np.float64)


def respond(
    image: np.ndarray, train: list[np.ndarray], embedder: CellMeans | None = None, **settings: object
) -> Response:
    detector = create_detector("vision_patchcore", embedder=embedder or CellMeans(), coreset=NONE, **settings)
    state = detector.fit_state(sources(train))
    return next(iter(detector.respond(state, sources([image]))))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("distance", ["l2_squared", "l2"])
def test_patch_scores_are_mean_distances_to_k_neighbours(k: int, distance: str) -> None:
    train, image = textures(5), with_spot(textures(1, seed=9)[0])
    bank, patches = rows_of(train), rows_of([image])
    squared = np.sort(((patches[:, None] - bank[None]) ** 2).sum(axis=2), axis=1)[:, :k]
    expected = (squared if distance == "l2_squared" else np.sqrt(squared)).mean(axis=1)
    response = respond(image, train, n_neighbors=k, distance=distance)
    np.testing.assert_allclose(response.patch_grid.ravel(), expected, rtol=1e-5)
    assert response.score == pytest.approx(expected.max(), rel=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("max", lambda p: p.max()),
        ("mean", lambda p: p.mean()),
        ("topk_mean", lambda p: np.sort(p)[-4:].mean()),
    ],
)
def test_aggregation(aggregation: str, expected: object) -> None:
    response = respond(with_spot(textures(1, 9)[0]), textures(4), aggregation=aggregation, topk=0.09)
    patches = response.patch_grid.ravel()  # 48 of them: int(0.09 * 48) is 4
    assert response.score == pytest.approx(expected(patches), rel=1e-5)  # type: ignore[operator]


def test_reweighting_is_anomalibs() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is anomalib (extra: anomalib)")
    model = pytest.importorskip(
        "anomalib.models.image.patchcore.torch_model", reason="the oracle is anomalib"
    )
    rng = np.random.default_rng(0)
    bank, patches = rng.standard_normal((60, 8)), rng.standard_normal((20, 8)) * 1.5
    reference = model.PatchcoreModel(
        layers=("layer1",), backbone="resnet18", pre_trained=False, num_neighbors=9
    )
    reference.memory_bank = torch.tensor(bank, dtype=torch.float32)
    embedded = torch.tensor(patches, dtype=torch.float32)
    scores, locations = reference.nearest_neighbors(embedded, n_neighbors=1)
    expected = reference.compute_anomaly_score(scores.reshape(1, -1), locations.reshape(1, -1), embedded)

    worst = int(scores.argmax())
    state = DetectorState(
        {"bank": bank.astype(np.float32), "row_starts": np.array([0, 60])},
        {"images": [], "precision": "float32"},
    )
    factor = reweighting(patches[worst].astype(np.float32), int(locations[worst]), Bank(state), 9)
    assert factor * float(scores[worst]) == pytest.approx(float(expected[0]), rel=1e-4)


def test_reweight_lowers_the_score_and_needs_the_maximum() -> None:
    train, image = textures(5), with_spot(textures(1, 9)[0])
    near = CellMeans(scale=0.01)  # far from the bank the factor is 1
    assert 0 < respond(image, train, near, reweight=True).score < 0.95 * respond(image, train, near).score
    with pytest.raises(ValueError, match="aggregation max"):
        create_detector("vision_patchcore", embedder=CellMeans(), reweight=True, aggregation="mean")


def test_bank_rows_stand_image_by_image() -> None:
    train = textures(6)
    detector = create_detector("vision_patchcore", embedder=CellMeans(), coreset={"ratio": 0.25}, seed=5)
    state = detector.fit_state(sources(train))
    rows, starts = state.arrays["rows"], state.arrays["row_starts"]
    assert (np.diff(rows) > 0).all()
    assert starts[0] == 0 and starts[-1] == len(rows) == state.facts["bank_rows"] == 6 * 48 // 4
    for image in range(6):
        own = rows[starts[image] : starts[image + 1]]
        assert ((own >= image * 48) & (own < (image + 1) * 48)).all()
        np.testing.assert_array_equal(
            state.arrays["bank"][starts[image] : starts[image + 1]],
            rows_of([train[image]]).astype(np.float32)[own - image * 48],
        )
    assert (
        state.facts["coverage"]["max"]
        >= state.facts["coverage"]["p99"]
        >= state.facts["coverage"]["mean"]
        > 0
    )


def test_streaming_selects_what_the_whole_array_would() -> None:
    from uad_orchestrator.memory import select_coreset

    train = textures(9)
    for method in ("batched_greedy", "random", "none"):
        detector = create_detector(
            "vision_patchcore",
            embedder=CellMeans(),
            coreset={"method": method, "ratio": 0.2},
            seed=7,
            batch_size=2,
        )
        state = detector.fit_state(sources(train))
        expected = select_coreset(rows_of(train).astype(np.float32), 0.2, method, 7)
        assert np.array_equal(state.arrays["rows"], expected)


def test_the_same_state_at_any_batch_size_and_with_any_cache(tmp_path: object) -> None:
    cache = EmbeddingCache(tmp_path)  # type: ignore[arg-type]
    states = [
        create_detector("vision_patchcore", embedder=CellMeans(), batch_size=n, cache=c).fit_state(
            sources(textures(7))
        )
        for n, c in ((1, None), (4, cache), (8, cache))
    ]
    for state in states[1:]:
        assert state.facts == states[0].facts
        assert all(np.array_equal(state.arrays[k], v) for k, v in states[0].arrays.items())


def test_precision_falls_back_where_float16_would_change_scores() -> None:
    class Offset(CellMeans):
        def __init__(self, offset: float) -> None:
            super().__init__(scale=1.01, precision=None)
            self.offset = offset

        def embed_batch(self, images: list[np.ndarray]) -> list:  # type: ignore[override]
            found = super().embed_batch(images)
            return [e._replace(patch_embeddings=e.patch_embeddings + self.offset) for e in found]

    image, facts, grids = textures(1, 9)[0], {}, {}
    for offset in (0.0, 5e3):
        detector = create_detector("vision_patchcore", embedder=Offset(offset), coreset=NONE)
        state = detector.fit_state(sources(textures(5)))
        facts[offset] = state.facts
        (response,) = detector.respond(state, sources([image]))
        grids[offset] = response.patch_grid
    assert facts[5e3]["precision"] == "float32"
    assert facts[5e3]["float16_score_change"] > max(1e-3, 10 * facts[0.0]["float16_score_change"])
    np.testing.assert_allclose(grids[5e3], grids[0.0], rtol=5e-3, atol=2)


def test_images_of_another_dimension_are_an_error() -> None:
    class Odd(CellMeans):
        def embed_batch(self, images: list[np.ndarray]) -> list:  # type: ignore[override]
            found = super().embed_batch(images)
            return [
                e._replace(patch_embeddings=e.patch_embeddings[:, : 6 - (i == 1)])
                for i, e in enumerate(found)
            ]

    with pytest.raises(ValueError, match=r"01\.png"):
        create_detector("vision_patchcore", embedder=Odd()).fit_state(sources(textures(2)))


def test_a_state_survives_the_disk(tmp_path: object) -> None:
    detector = create_detector("vision_patchcore", embedder=CellMeans())
    state = detector.fit_state(sources(textures(4)))
    state.save(tmp_path)  # type: ignore[arg-type]
    loaded = DetectorState.load(tmp_path)  # type: ignore[arg-type]
    image = sources(textures(1, 9))
    assert loaded.facts == state.facts
    assert (
        next(iter(detector.respond(loaded, image))).score == next(iter(detector.respond(state, image))).score
    )


def test_a_declared_precision_is_taken_and_no_image_is_embedded_twice(tmp_path: Path) -> None:
    class Declaring(CellMeans):
        def recipe(self) -> dict[str, object]:
            return {**super().recipe(), "precision": "float16"}

    cache = EmbeddingCache(tmp_path)
    first, second = (
        create_detector("vision_patchcore", embedder=Declaring(), cache=cache, coreset=NONE) for _ in range(2)
    )
    assert first.fit_state(sources(textures(5))).facts["precision"] == "float16"
    second.fit_state(sources(textures(4)))  # other images in the middle and at the end
    assert (first.embedded_images, second.embedded_images) == (5, 0)


@pytest.mark.parametrize("model", ["vision_patchcore", "vision_anomalydino"])
def test_precision_is_chosen_without_embedding_anything_again(tmp_path: Path, model: str) -> None:
    cache, embedder = EmbeddingCache(tmp_path), CellMeans(precision=None)
    for images in (5, 4, 7):  # each has other probes
        create_detector(model, embedder=embedder, cache=cache).fit_state(sources(textures(7)[:images]))
    assert embedder.seen == 7


def test_the_loss_by_float16_is_estimated_as_large_as_it_is() -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 8)).astype(np.float32) * 300
    rounded = rows.astype(np.float16).astype(np.float32)
    lost, moved = np.abs(rounded - rows), np.abs(bank_building._rounded_otherwise(rounded, 0) - rounded)
    assert moved.mean() == pytest.approx(lost.mean(), rel=0.1)
    beyond = np.full((3, 2), 1e6, np.float32)
    assert np.array_equal(bank_building._rounded_otherwise(beyond, 0), beyond)
