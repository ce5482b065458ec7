"""A bank is built with one pass over the embeddings where they fit the memory, and is the same where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.bank.test_bank import NORMALS, detector, sources
from uad_orchestrator.detectors.bank.rows import building
from uad_orchestrator.detectors.bank.rows.kept_rows import KeptRows, RowBuffer
from uad_orchestrator.detectors.embedding.stream import EmbeddedImage, EmbeddingStream

DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "patchcore": ("vision_patchcore", {"coreset": {"ratio": 0.3}}),
    "all rows": ("vision_patchcore", {"coreset": {"method": "none"}}),
    "cosine": ("vision_anomalydino", {"rotation": [90.0]}),
    "weighed": ("vision_softpatch", {"lof_k": 3}),
    "layers": ("vision_superadd", {"tiles": {"tile_size": 48}}),
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that streams gave, one after the other."""
    found: list[str] = []
    stream_views = EmbeddingStream.stream_views

    def counting(self: EmbeddingStream, *given: Any, **named: Any) -> Iterator[tuple[EmbeddedImage, ...]]:
        for embedded in stream_views(self, *given, **named):
            found.append(embedded[0].source.name)
            yield embedded

    monkeypatch.setattr(EmbeddingStream, "stream_views", counting)
    return found


@pytest.mark.parametrize(("model", "settings"), DETECTORS.values(), ids=DETECTORS)
def test_the_bank_is_the_same_however_much_is_kept(
    model: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = detector(model, settings).fit_state(sources(NORMALS))
    for most in (0, 1 << 13, 1 << 15):
        monkeypatch.setattr(building, "KEPT_BYTES", most)
        found = detector(model, settings).fit_state(sources(NORMALS))
        assert found.facts == expected.facts
        for name, array in expected.arrays.items():
            assert np.array_equal(found.arrays[name], array), name
            assert found.arrays[name].dtype == array.dtype


def test_what_is_kept_is_not_read_again(read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = [image.name for image in sources(NORMALS)]
    monkeypatch.setattr(building, "_choose_precision", lambda *_: ("float16", None))
    state = detector("vision_patchcore", {}).fit_state(sources(NORMALS))
    assert read == names
    read.clear()
    monkeypatch.setattr(building, "KEPT_BYTES", state.facts["patches"] * state.facts["dimension"])  # of half
    detector("vision_patchcore", {}).fit_state(sources(NORMALS))
    assert read == names + names[3:]


images_of_rows = st.lists(st.integers(0, 5), min_size=1, max_size=8)


@given(images_of_rows, st.integers(0, 200), st.sampled_from(["float16", "float32"]), st.integers(0, 99))
def test_the_first_images_rows_are_kept_as_they_are(
    counts: list[int], most: int, precision: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images = [rng.integers(-9, 9, (count, 3)).astype(np.float32) for count in counts]
    kept, size = KeptRows(precision, most), 2 if precision == "float16" else 4
    for i, rows in enumerate(images):
        kept.add(rows, len(images) - i)
    expected = sum(sum(counts[: i + 1]) * 3 * size <= most for i in range(len(counts)))
    assert kept.images == expected
    assert np.array_equal(kept.rows, np.concatenate([images[0][:0], *images[:expected]]))
    assert kept.rows.dtype == np.dtype(precision)


def test_rows_that_float16_cannot_hold_end_what_is_kept() -> None:
    """As a whole image is left in float32 where a single value is too large."""
    for value in (1e6, 0.1):
        kept = KeptRows("float16", 1 << 20)
        for rows in ([[0.5]], [[0.25]], [[value]], [[0.5]]):
            kept.add(np.float32(rows), 4)
        assert kept.images == 2 and kept.rows.tolist() == [[0.5], [0.25]]


@given(images_of_rows, st.integers(1, 9))
def test_a_buffer_holds_what_was_appended_whatever_was_expected(counts: list[int], times: int) -> None:
    buffer, images = RowBuffer(np.float32), [np.full((n, 2), n, np.float32) for n in counts]
    for rows in images:
        buffer.append(rows, times)
    assert buffer.rows.tolist() == np.concatenate(images).tolist()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_greedy_coreset_says_when_each_row_was_chosen_and_which_patches_are_near_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[np.ndarray, np.ndarray]] = []
    greedy_coreset = building.greedy_coreset

    def noting(points: np.ndarray, *given: Any, **named: Any) -> tuple[np.ndarray, np.ndarray]:
        found.append(greedy_coreset(points, *given, **named))
        return found[-1]

    monkeypatch.setattr(building, "greedy_coreset", noting)
    monkeypatch.setattr(building, "WORTH_KEEPING", 100)
    model, settings = DETECTORS[name]
    arrays = detector(model, settings).fit_state(sources(NORMALS)).arrays
    assert ("turns" in arrays) is ("nearest" in arrays) is bool(found) is (name in ("patchcore", "weighed"))
    if not found:
        return
    order, nearest = found[0]
    if name == "patchcore":
        assert np.array_equal(arrays["rows"][np.argsort(arrays["turns"])], order)
        assert np.array_equal(arrays["nearest"], nearest)
    else:
        could_be_chosen = arrays["nearest"][:, 0] != -1
        assert np.array_equal(arrays["nearest"][could_be_chosen], nearest)
        assert could_be_chosen[arrays["rows"]].all() and (~could_be_chosen).sum() > 0
        assert np.array_equal(arrays["nearest"][arrays["rows"], 0], np.arange(len(order))), "a row is its own"


def test_nearest_rows_are_kept_where_they_are_small_beside_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = detector("vision_patchcore", {"coreset": {"ratio": 0.3}})
    facts = fitted.fit_state(sources(NORMALS)).facts
    share = 3 * facts["patches"] / (facts["bank_rows"] * facts["dimension"])
    long, short = -1, 1e12
    for search, worth, kept in (
        *((long, 0.33, 0), (long, 0.34, 1), (long, 0.99, 1), (long, 1.01, 3)),
        *((short, 0.99, 0), (short, 1.01, 3)),
    ):
        monkeypatch.setattr(building, "LONG_SEARCH", search)
        monkeypatch.setattr(building, "WORTH_KEEPING", worth * share)
        arrays = fitted.fit_state(sources(NORMALS)).arrays
        assert arrays.get("nearest", np.empty((0, 0))).shape[1] == kept
