"""AnomalyDINO against brute force, and its object mask against the published procedure."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.detectors.conftest import CellMeans, textures, with_spot
from uad_orchestrator.detectors import create_detector
from uad_orchestrator.detectors.bank.anomaly_dino import reference_angles
from uad_orchestrator.detectors.bank.anomaly_dino_settings import AnomalyDinoFit
from uad_orchestrator.detectors.bank.object_mask import ObjectFinder, first_component, object_mask
from uad_orchestrator.detectors.embedding.open_stream import open_stream
from uad_orchestrator.detectors.embedding.views import PLAIN, View
from uad_orchestrator.detectors.protocol.aggregation import aggregate
from uad_orchestrator.embedders.protocol import PatchEmbedding
from uad_orchestrator.images.source import ImageSource
from uad_orchestrator.images.tiles import tile_grid
from uad_orchestrator.preprocessing.presets import Preset
from uad_orchestrator.preprocessing.settings import parse_step


def sources(images: list[np.ndarray]) -> list[ImageSource]:
    return [ImageSource.from_array(image, name=f"{i:02}.png") for i, image in enumerate(images)]


def unit(images: list[np.ndarray]) -> np.ndarray:
    rows = np.concatenate([e.patch_embeddings for e in CellMeans().embed_batch(images)])
    rows = rows.astype(np.float16).astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 2])
def test_patch_scores_are_mean_cosine_distances(k: int) -> None:
    train, image = textures(4), with_spot(textures(1, seed=9)[0])
    detector = create_detector("vision_anomalydino", embedder=CellMeans(), n_neighbors=k)
    (response,) = detector.respond(detector.fit_state(sources(train)), sources([image]))
    expected = np.sort(1 - unit([image]) @ unit(train).T, axis=1)[:, :k].mean(axis=1)
    np.testing.assert_allclose(response.patch_grid.ravel(), expected, atol=1e-6)
    assert response.score == pytest.approx(expected.max(), abs=1e-6)  # 48 patches: the top 1 % is one of them


@pytest.mark.parametrize(("n", "k"), [(1024, 10), (99, 1), (100, 1), (200, 2), (5, 1)])
def test_top_share_is_rounded_down_but_never_empty(n: int, k: int) -> None:
    scores = np.random.default_rng(0).random(n)
    assert aggregate(scores, "topk_mean", 0.01) == pytest.approx(np.sort(scores)[-k:].mean())


def test_references_are_a_slice_of_the_sorted_files() -> None:
    shuffled = sources(textures(7))[::-1]
    for seed, names in ((0, ["00.png", "01.png"]), (2, ["04.png", "05.png"])):
        detector = create_detector(
            "vision_anomalydino", embedder=CellMeans(), references={"k": 2, "seed": seed}
        )
        state = detector.fit_state(shuffled)
        assert [image["name"] for image in state.facts["images"]] == names
    with pytest.raises(ValueError, match="seed 3 with k 2 takes images 6 to 7, but there are 7"):
        create_detector("vision_anomalydino", embedder=CellMeans(), references={"k": 2, "seed": 3}).fit_state(
            shuffled
        )


def test_rotated_references_recognise_a_rotated_part() -> None:
    train = textures(1, size=(48, 48))
    turned = View(45.0).after_preset(train[0])
    scores = {}
    for rotation, views in ((False, 1), (True, 8), ((45.0,), 2), ((180.0,), 2)):
        embedder = CellMeans()
        detector = create_detector("vision_anomalydino", embedder=embedder, rotation=rotation)
        state = detector.fit_state(sources(train))
        assert embedder.seen == detector.embedded_views == views
        assert detector.embedded_images == 1
        assert len(state.arrays["bank"]) == views * 36
        (response,) = detector.respond(state, sources([turned]))
        scores[rotation] = response.score
    assert scores[True] == pytest.approx(0, abs=1e-6)
    assert scores[45.0,] == pytest.approx(0, abs=1e-6)
    assert min(scores[False], scores[180.0,]) > 1e-4


def test_angles_always_hold_the_image_itself() -> None:
    assert reference_angles(True) == (0, 45, 90, 135, 180, 225, 270, 315)
    assert reference_angles(False) == (0,)
    assert reference_angles((0.0, 360.0, -90.0)) == (0, 270)


def test_all_views_of_an_image_are_left_out_of_its_own_bank() -> None:
    train = textures(3, size=(48, 48))
    detector = create_detector("vision_anomalydino", embedder=CellMeans(), rotation=(90.0, 180.0, 270.0))
    state = detector.fit_state(sources(train))
    left_out = [r.score for r in detector.respond(state, sources(train), leave_out=True)]
    for i, score in enumerate(left_out):
        rest = detector.fit_state(sources(train[:i] + train[i + 1 :]))
        (refitted,) = detector.respond(rest, sources([train[i]]))
        assert score == pytest.approx(refitted.score, rel=1e-6)
        assert score > 1e-5


def published_mask(tokens: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """dammsi/AnomalyDINO's procedure, with scikit-learn's PCA and scipy's morphology."""
    from scipy import ndimage
    from sklearn.decomposition import PCA

    component = PCA(n_components=1, svd_solver="full").fit_transform(tokens.astype(np.float64)).reshape(grid)
    # PCA's sign is arbitrary; ours is fixed by the largest entry of the axis
    axis = PCA(n_components=1, svd_solver="full").fit(tokens.astype(np.float64)).components_[0]
    component *= np.sign(axis[np.abs(axis).argmax()])
    mask = component > 10
    centre = mask[int(grid[0] * 0.2) : int(grid[0] * 0.8), int(grid[1] * 0.2) : int(grid[1] * 0.8)]
    if centre.sum() <= centre.size * 0.35:
        mask = -component > 10
    ones = np.ones((3, 3))
    mask = ndimage.binary_dilation(mask, ones)
    padded = np.pad(mask, 1)
    return ndimage.binary_closing(padded, ones)[1:-1, 1:-1] | mask


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sign", [1, -1])
def test_object_mask_is_the_published_one(seed: int, sign: int) -> None:
    rng = np.random.default_rng(seed)
    grid = (16, 20)
    on_object = np.zeros(grid, bool)
    on_object[4:13, 5:15] = True
    tokens = rng.standard_normal((320, 12)) * 1.5 + sign * 30 * np.outer(
        on_object.ravel(), rng.standard_normal(12)
    )
    mask = object_mask(tokens.astype(np.float32), grid).reshape(grid)
    assert np.array_equal(mask, published_mask(tokens, grid))
    assert mask[on_object].all()
    assert mask.mean() < 0.6


def official_mask(tokens: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """dammsi/AnomalyDINO's ``compute_background_mask``, call by call; ``(n,)`` bool."""
    import cv2
    from sklearn.decomposition import PCA

    first_pc = PCA(n_components=1, svd_solver="randomized", random_state=0).fit_transform(tokens)
    mask = first_pc > 10
    border = 0.2
    centre = mask.reshape(grid)[
        int(grid[0] * border) : int(grid[0] * (1 - border)),
        int(grid[1] * border) : int(grid[1] * (1 - border)),
    ]
    if centre.sum() <= centre.size * 0.35:
        mask = -first_pc > 10
    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)).astype(bool)
    return mask.squeeze()


@given(
    grid=st.tuples(st.integers(4, 24), st.integers(4, 24)),
    part=st.tuples(*[st.floats(0, 0.9)] * 2, *[st.floats(0.1, 1)] * 2),
    strength=st.sampled_from([-30.0, 30.0, -9.0, 9.0]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_along_tokens_the_object_mask_is_the_official_codes(
    grid: tuple[int, int], part: tuple[float, ...], strength: float, seed: int
) -> None:
    """An object anywhere, at the border too, and a few tokens beside it."""
    rng = np.random.default_rng(seed)
    top, left, height, width = (int(share * side) for share, side in zip(part, grid * 2, strict=True))
    on_object = rng.random(grid) < 0.05
    on_object[top : top + height, left : left + width] = True
    direction = rng.standard_normal(16)
    tokens = rng.standard_normal((on_object.size, 16)) + strength * np.outer(on_object.ravel(), direction)
    tokens = tokens.astype(np.float32)
    component = first_component(tokens)
    assume(np.abs(np.abs(component) - 10).min() > 0.01)  # their solver is not exact
    assume(component.std() > 2)
    assert np.array_equal(object_mask(tokens, grid, along_tokens=True), official_mask(tokens, grid))


def test_along_tokens_the_object_grows_within_its_rows_and_into_the_next() -> None:
    on_object = np.zeros((8, 8), bool)
    on_object[2:6, 3:] = True
    tokens = np.full((64, 2), (0.0, 1.0)) + 80 * np.outer(on_object.ravel(), (1.0, 0.0))
    expected = on_object.copy()
    expected[2:6, 2] = expected[3:7, 0] = True
    expected[3:6, 1] = True  # closed
    assert np.array_equal(object_mask(tokens, (8, 8), along_tokens=True).reshape(8, 8), expected)


def test_the_official_mask_is_a_choice_of_the_setting() -> None:
    image = object_on_ground(3)
    grids = {}
    for choice in (True, "official"):
        detector = create_detector("vision_anomalydino", embedder=CellMeans(), object_mask=choice)
        state = detector.fit_state(sources([object_on_ground(i) for i in range(3)]))
        (response,) = detector.respond(state, sources([image]))
        grids[choice] = response.patch_grid != 0
    (embedded,) = open_stream(CellMeans()).stream(sources([image]))
    tokens, grid = embedded.embedding.patch_embeddings, embedded.embedding.grid_shape
    assert np.array_equal(grids["official"].ravel(), official_mask(tokens, grid))
    assert not np.array_equal(grids["official"], grids[True])


def official_rotation(image: np.ndarray, angle: float) -> np.ndarray:
    """dammsi/AnomalyDINO's ``rotate_image``, call by call."""
    import cv2

    image_center = tuple(np.array(image.shape[1::-1]) / 2)
    rot_mat = cv2.getRotationMatrix2D(image_center, angle, 1.0)
    return cv2.warpAffine(
        image, rot_mat, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_DEFAULT
    )


@given(size=st.tuples(st.integers(2, 40), st.integers(2, 40)), angle=st.sampled_from(range(0, 360, 15)))
@settings(max_examples=60, deadline=None)
def test_references_are_turned_as_in_the_official_code(size: tuple[int, int], angle: int) -> None:
    image = np.random.default_rng(angle).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(View(float(angle)).after_preset(image), official_rotation(image, angle))
    mask = image[..., 0] > 99
    turned = official_rotation(mask.astype(np.uint8) * 255, angle) > 127
    assert np.array_equal(View(float(angle)).turned_mask(mask), turned)


def test_quarter_turns_lose_nothing_but_the_border_that_the_official_centre_moves_out() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(View(90.0).after_preset(image)[1:], np.rot90(image)[:-1])
    assert np.array_equal(View(180.0).after_preset(image)[1:, 1:], np.rot90(image, 2)[:-1, :-1])
    assert np.array_equal(View(270.0).after_preset(image)[:, 1:], np.rot90(image, 3)[:, :-1])


def test_only_turned_references_have_another_version_and_another_key() -> None:
    versions = [AnomalyDinoFit(rotation=rotation).versions() for rotation in (False, (), (0.0, 360.0))]
    assert versions == [{}, {}, {}]
    assert AnomalyDinoFit(rotation=True).versions() == {"turn_version": 2}
    assert AnomalyDinoFit(rotation=(0.0, 30.0)).versions() == {"turn_version": 2}
    assert PLAIN.name == "rot0"
    assert View(45.0).name == "rot45-v2"


def test_the_first_component_does_not_depend_on_the_solvers_sign() -> None:
    tokens = np.random.default_rng(0).standard_normal((50, 6)) * [5, 1, 1, 1, 1, 1]
    assert np.allclose(first_component(tokens), (tokens - tokens.mean(axis=0))[:, 0], atol=1.0)


def test_masked_patches_score_zero_and_count_as_zero() -> None:
    class OneObject(CellMeans):
        """Tokens that are long on a centred object and short elsewhere."""

        def embed_batch(self, images: list[np.ndarray]) -> list[PatchEmbedding]:  # type: ignore[override]
            found = []
            for e in super().embed_batch(images):
                centre = np.zeros(e.grid_shape)
                centre[3:-3, 3:-3] = 1
                rows = np.hstack([e.patch_embeddings, 400 * centre.reshape(-1, 1)])
                found.append(e._replace(patch_embeddings=rows))
            return found

    size = (96, 96)
    train, image = textures(3, size=size), with_spot(textures(1, 9, size)[0], 0, 0)
    grids = {}
    for masked in (False, True):
        detector = create_detector(
            "vision_anomalydino", embedder=OneObject(), object_mask=masked, aggregation="topk_mean", topk=1.0
        )
        state = detector.fit_state(sources(train))
        assert len(state.arrays["bank"]) == 3 * 144  # references are never masked
        (response,) = detector.respond(state, sources([image]))
        assert response.score == pytest.approx(response.patch_grid.mean(), rel=1e-5)
        grids[masked] = response.patch_grid
    off = grids[True] == 0
    assert off.any() and not off.all()
    assert np.array_equal(grids[True][~off], grids[False][~off])


def object_on_ground(seed: int, size: tuple[int, int] = (96, 144)) -> np.ndarray:
    """A bright textured part in the middle of a dark ground: many tiles show nothing but one of the two."""
    image = textures(1, seed, size)[0] // 8
    part = np.s_[size[0] // 5 : -size[0] // 5, size[1] // 5 : -size[1] // 5]
    image[part] = 120 + textures(1, seed + 100, size)[0][part] // 2
    return image


@pytest.mark.parametrize(
    "steps",
    [
        (),
        ({"resize": {"method": "squash", "height": 144, "width": 72}},),
        ({"roi": {"right": 0.4}},),
        ({"roi": {"method": "polygon", "points": [[0, 0.1], [0.9, 0.1], [0.1, 0.9]]}},),
    ],
    ids=str,
)
def test_the_object_is_found_on_the_whole_image_and_masks_its_tiles(steps: tuple[object, ...]) -> None:
    preset, tiling = Preset("test", tuple(map(parse_step, steps))), {"tile_size": 32, "stride": 24}
    train, image = [object_on_ground(i) for i in range(4)], object_on_ground(9)
    canvas = preset.size_after(image.shape[:2])
    responses = {}
    for masked in (False, True):
        embedder = CellMeans()
        detector = create_detector(
            "vision_anomalydino", embedder=embedder, preset=preset, tiling=tiling, object_mask=masked
        )
        state = detector.fit_state(sources(train))
        fitted = embedder.seen
        (responses[masked],) = detector.respond(state, sources([image]))
        assert embedder.seen - fitted == fitted / 4 + masked, "the whole image, too"
    (whole,) = open_stream(CellMeans(), preset=preset).stream(sources([image]))
    grid = whole.embedding.grid_shape
    on_object = whole.embedding.spread(
        object_mask(whole.embedding.inspected_rows, grid, whole.embedding.inspected)
    ).reshape(grid)
    assert 0.1 < on_object.mean() < 0.8
    tiles = zip(tile_grid(canvas, **tiling).boxes(), responses[False].patch_grid, strict=True)
    expected = [  # patches of tiles lie on the lattice of those of the whole
        np.where(on_object[box.top // 8 : box.bottom // 8, box.left // 8 : box.right // 8], scores, 0)
        for box, scores in tiles
    ]
    found = responses[True].patch_grid
    if whole.embedding.inspected is None:
        assert np.array_equal(found, np.stack(expected))
    else:
        assert np.array_equal(found[found > 0], np.stack(expected)[np.stack(expected) > 0])


def test_one_masked_tile_is_the_masked_image() -> None:
    train, image = [object_on_ground(i, (64, 64)) for i in range(4)], object_on_ground(9, (64, 64))
    one, whole = (
        create_detector("vision_anomalydino", embedder=CellMeans(), object_mask=True, tiling=tiling).fit(
            train
        )
        for tiling in ({"tile_size": 64}, None)
    )
    assert one.threshold_ == whole.threshold_
    assert one.decision_function([image]) == whole.decision_function([image]) > 0
    assert np.array_equal(one.get_anomaly_map(image), whole.get_anomaly_map(image))


def test_a_patch_beside_the_whole_images_region_is_as_the_nearest_inside() -> None:
    """A patch of a tile may be inside where the larger one of the whole image is not."""
    right = parse_step({"roi": {"left": 35, "right": 144, "bottom": 96, "unit": "pixels"}})
    finder = ObjectFinder(open_stream(CellMeans(), preset=Preset("right", (right,))))
    _, mask = finder._on_whole(sources([object_on_ground(0)])[0], "float16")
    assert mask.shape == (12, 18) and mask[:, 4].any() and not mask.all()
    assert (mask[:, :4] == mask[:, 4:5]).all(), "the first column with half a patch inside"
