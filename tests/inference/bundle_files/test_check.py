"""Bundles whose content was changed and whose digests were put right again, as whoever writes both can."""

from __future__ import annotations

import io
import json
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inference.test_bundle import rewrite
from tests.orchestration.workshop import normal_image
from uad_orchestrator.inference import BundleError, infer, load_bundle
from uad_orchestrator.inference.service.request_queue import RequestQueue
from uad_orchestrator.memory.nearest import WrongDimension

NOT_FINITE = [math.nan, math.inf, -math.inf]


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "copied"))


def rewrite_state(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change the arrays of the state and put the digests right again."""
    path = folder / "state/state.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)
    rewrite(folder, lambda values: None)


def rewrite_facts(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "state/state.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    rewrite(folder, lambda values: None)


def put(name: str, index: object, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_bank_that_is_not_finite_is_refused(copied: Path, value: float) -> None:
    rewrite_state(copied, put("bank", (3, 1), value))
    with pytest.raises(BundleError, match=r"state: array bank holds values that are NaN or infinite"):
        load_bundle(copied)


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize(
    ("place", "change"),
    [
        (r"image_point\.threshold", lambda values, x: values["image_point"].update(threshold=x)),
        (r"pixel_point\.threshold", lambda values, x: values["pixel_point"].update(threshold=x)),
        (r"scores\[2\]", lambda values, x: values["scores"].__setitem__(2, x)),
        (r"maxima\[0\]", lambda values, x: values["maxima"].__setitem__(0, x)),
        (r"normal_maps\.mean", lambda values, x: values["normal_maps"].update(mean=x)),
        (r"map_scale\[1\]", lambda values, x: values.update(map_scale=[0.5, x])),
        (r"settings\.contamination", lambda values, x: values["settings"].update(contamination=x)),
    ],
)
def test_figures_that_are_not_finite_are_named(copied: Path, place: str, change: Any, value: float) -> None:
    rewrite(copied, lambda values: change(values, value))
    with pytest.raises(BundleError, match=rf"bundle\.json: {place} is NaN or infinite"):
        load_bundle(copied)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("scores.2", lambda values: values["scores"].__setitem__(2, "nan")),
        ("threshold", lambda values: values["image_point"].update(threshold="0.5")),
        ("contamination", lambda values: values["image_point"].update(contamination=1.5)),
        ("further", lambda values: values["image_point"].update(further=1)),
        ("further", lambda values: values["normal_maps"].update(further=1)),
        ("further", lambda values: values.update(further=1)),
        ("further", lambda values: values["settings"].update(further=1)),
        ("further", lambda values: values["embedder"].update(further=1)),
        ("further", lambda values: values["recipe"].update(further=1)),
        ("further", lambda values: values.update(reading={"further": 1})),
        ("map_scale", lambda values: values.update(map_scale=[0.5])),
    ],
)
def test_unknown_keys_and_other_types_are_named(copied: Path, place: str, change: Any) -> None:
    rewrite(copied, change)
    with pytest.raises(BundleError, match=place):
        load_bundle(copied)


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("rows of .* values; the state says", lambda a: a.update(bank=a["bank"][:, 1:])),
        ("rows; the state says", lambda a: a.update(bank=a["bank"][1:])),
        ("expected rows of floating point", lambda a: a.update(bank=a["bank"][0])),
        ("expected rows of floating point", lambda a: a.update(bank=a["bank"].astype(np.int32))),
        ("dtype complex64", lambda a: a.update(bank=a["bank"].astype(np.complex64))),
        ("array bank is missing", lambda a: a.pop("bank")),
        ("array row_starts is missing", lambda a: a.pop("row_starts")),
        ("array rows: expected", lambda a: a.update(rows=a["rows"][1:])),
        ("array row_starts: expected", lambda a: a.update(row_starts=a["row_starts"][::-1])),
        ("array row_starts: expected", lambda a: a.update(row_starts=a["row_starts"] * 2)),
        ("array turns: expected", lambda a: a.update(turns=a["turns"] // 2)),
        ("array nearest: expected", lambda a: a.update(nearest=np.full((9, 3), len(a["bank"]), np.int32))),
        ("array nearest: expected", lambda a: a.update(nearest=np.full((9, 3), -2, np.int32))),
        ("array nearest: expected", lambda a: a.update(nearest=np.zeros((9, 4), np.int32))),
        ("array nearest: expected", lambda a: a.update(nearest=np.zeros((9, 3), np.float32))),
        ("array weights: expected", lambda a: a.update(weights=np.ones(3, np.float32))),
        ("array cells: expected rows of", lambda a: a.update(cells=np.ones((3, 1), np.float32))),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_named(copied: Path, said: str, change: Any) -> None:
    rewrite_state(copied, change)
    with pytest.raises(BundleError, match=said):
        load_bundle(copied)


def test_a_bank_of_another_width_than_the_embedder_does_not_start(copied: Path) -> None:
    rewrite_state(copied, lambda arrays: arrays.update(bank=arrays["bank"][:, :-1].copy()))
    rewrite_facts(copied, lambda facts: facts.update(dimension=facts["dimension"] - 1))
    loaded = load_bundle(copied)
    with pytest.raises(WrongDimension), RequestQueue(loaded.detector()):
        pass
    with pytest.raises(WrongDimension):
        list(infer(loaded, [normal_image(1)]))


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("NaN or infinite", lambda facts: facts.update(float16_score_change=math.nan)),
        ("name, digest and group of each", lambda facts: facts["images"][0].pop("group")),
        ("name, digest and group of each", lambda facts: facts.update(images=[1])),
        ("layers is", lambda facts: facts.update(layers=10**9)),
        ("SHA256SUMS is damaged: state/x is not in it", lambda facts: facts.update(files={"x": "00"})),
    ],
)
def test_facts_are_held_to_what_a_fit_gives(copied: Path, said: str, change: Any) -> None:
    rewrite_facts(copied, change)
    if "not in it" in said:
        (copied / "state/x").write_text("")  # no digest covers it
    with pytest.raises(BundleError, match=said):
        load_bundle(copied)


def npy(shape: tuple[int, ...], data: bytes, dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize(
    ("said", "members", "compression"),
    [
        (r"claims \[1000000000, 1000\] values", [("bank.npy", npy((10**9, 1000), b"\0" * 8))], 0),
        ("compressed", [("bank.npy", npy((10**6, 10), bytes(4 * 10**7)))], zipfile.ZIP_DEFLATED),
        ("dtype object", [("bank.npy", npy((1,), b"\0" * 8, "|O"))], 0),
        ("cannot be read", [("bank.npy", b"none")], 0),
    ],
)
def test_absurd_sizes_take_no_memory(copied: Path, said: str, members: Any, compression: int) -> None:
    with zipfile.ZipFile(copied / "state/state.npz", "w", compression) as stored:
        for name, data in members:
            stored.writestr(name, data)
    rewrite(copied, lambda values: None)
    with pytest.raises(BundleError, match=rf"state\.npz: .*{said}"):
        load_bundle(copied)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format_version": ' + "9" * 5000 + "}"])
def test_what_is_no_json_object_is_named(copied: Path, text: str) -> None:
    for name in ("bundle.json", "state/state.json"):
        before = (copied / name).read_bytes()
        (copied / name).write_text(text)
        rewrite_digests(copied)
        with pytest.raises(BundleError, match=name):
            load_bundle(copied)
        (copied / name).write_bytes(before)


def rewrite_digests(folder: Path) -> None:
    from uad_orchestrator.storage.digests import file_digest

    sums = folder / "SHA256SUMS"
    names = [line.split("  ")[1] for line in sums.read_text().splitlines()]
    sums.write_text("".join(f"{file_digest(folder / name)}  {name}\n" for name in names))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.floats(), max_size=2),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_the_place_of_another_is_taken_only_where_it_can_be_meant(
    bundle_folder: Path, data: st.DataObject
) -> None:
    """Refused with a BundleError, or no figure of the calibration is one that cannot be."""
    name = data.draw(st.sampled_from(["bundle.json", "state/state.json"]))
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(shutil.copytree(bundle_folder, Path(parent) / "bundle"))
        values = json.loads((folder / name).read_text())
        spot, key = data.draw(st.sampled_from(list(places(values))))
        spot[key] = data.draw(ODD)
        (folder / name).write_text(json.dumps(values))
        rewrite_digests(folder)
        try:
            loaded = load_bundle(folder)
        except BundleError:
            return
        points = (loaded.calibration.image_point, loaded.calibration.pixel_point)
        assert all(not math.isinf(point.threshold) for point in points)
        assert np.isfinite(loaded.calibration.scores).all() and np.isfinite(loaded.calibration.maxima).all()


def places(values: Any) -> Any:
    """Every container of JSON values with each of its keys."""
    keys = values.keys() if isinstance(values, dict) else range(len(values))
    for key in keys:
        yield values, key
        if isinstance(values[key], dict | list):
            yield from places(values[key])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_of_the_arrays_is_refused_or_finite(bundle_folder: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(shutil.copytree(bundle_folder, Path(parent) / "bundle"))
        path = folder / "state/state.npz"
        stored = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(stored) - 1))
            stored[at] = data.draw(st.integers(0, 255))
        path.write_bytes(
            stored[: data.draw(st.sampled_from([len(stored), len(stored) - 1, len(stored) // 2]))]
        )
        rewrite_digests(folder)
        try:
            loaded = load_bundle(folder)
        except BundleError:
            return
        assert np.isfinite(loaded.state.arrays["bank"]).all()


def test_a_note_of_what_was_fitted_on_that_no_fit_writes_is_named(copied: Path) -> None:
    rewrite_facts(copied, lambda values: values["fitted_on"].pop("exact_sizes"))
    with pytest.raises(BundleError, match=r"state\.json: fitted_on: is not what a fit writes .*exact_sizes"):
        load_bundle(copied)


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_a_name_that_no_file_has_is_named(copied: Path, name: str) -> None:
    with (copied / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(BundleError, match=r"SHA256SUMS is damaged: 'a.* is no file's name"):
        load_bundle(copied)
