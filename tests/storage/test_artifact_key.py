"""Addresses: nothing leaves the root, and a path leads back to its key."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.storage.artifact_key import ArtifactKey, InputReference, split_category
from uad_orchestrator.storage.provenance import Provenance

parts = st.text(min_size=1, max_size=12)


def accepted(*values: str | None) -> ArtifactKey | None:
    try:
        return ArtifactKey(*values)
    except ValueError:
        return None


@given(
    asset=parts,
    dataset=st.none() | parts,
    category=st.none() | parts,
    detector=st.none() | parts,
    version=parts,
)
def test_whatever_the_names_the_path_stays_below_the_root_and_leads_back(
    asset: str, dataset: str | None, category: str | None, detector: str | None, version: str
) -> None:
    key = accepted(asset, dataset, category, detector, version)
    if key is not None:
        assert len(key.path.parts) == 6
        assert ".." not in key.path.parts
        assert ArtifactKey.from_path(key.path) == key


@pytest.mark.parametrize("other", ["asset", "dataset", "category", "detector", "version"])
def test_a_key_is_that_of_a_provenance_whose_parts_are_all_the_same(other: str) -> None:
    key = ArtifactKey("a", "d", "c", "p", "v")
    assert key.is_of(Provenance(**vars(key)))
    changed = Provenance(**(vars(key) | {other: "x"}))
    assert ArtifactKey.of(changed) != key and not key.is_of(changed)


@pytest.mark.parametrize(
    "name", ["", "..", ".", ".hidden", "a/b", "a\\b", "../x", "a\x00b", "a\nb", "_", "x" * 201, "/etc"]
)
@pytest.mark.parametrize("field", ["asset", "dataset", "category", "detector", "version"])
def test_names_that_are_no_folder_are_refused(field: str, name: str) -> None:
    named = {"asset": "a", "dataset": "d", "category": "c", "detector": "p", "version": "v"} | {field: name}
    with pytest.raises(ValueError, match=field):
        ArtifactKey(**named)


@pytest.mark.parametrize("name", ["bottle", "line 7", "a=b", "user@host", "v1.2", "schräg", "k=1,seed=0"])
def test_names_people_use_are_accepted(name: str) -> None:
    assert ArtifactKey("memory_bank", name, name, name, "v").path.parts[2:5] == (name,) * 3


def test_asset_and_version_are_required() -> None:
    with pytest.raises(ValueError, match="version"):
        ArtifactKey("a", "d", "c", "p", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["artifacts/a/b/c/d", "elsewhere/a/b/c/d/e", "artifacts/a/b/c/d/e/f"])
def test_other_paths_are_no_addresses(path: str) -> None:
    with pytest.raises(ValueError, match="is not artifacts/"):
        ArtifactKey.from_path(PurePosixPath(path))


def test_an_input_is_looked_for_in_what_it_has_of_the_readers_cell() -> None:
    reader = ArtifactKey("memory_bank", "mvtec_ad", "bottle", "patchcore", "v")
    cells = [key.cell for key in InputReference.parse("normal_images").candidates(reader, "w")]
    assert cells == [
        ("mvtec_ad", "bottle", "patchcore"),
        ("mvtec_ad", "bottle", "_"),
        ("_", "_", "patchcore"),
        ("_",) * 3,
    ]
    (other,) = InputReference.parse("metrics_report@visa/pcb1/dino").candidates(reader, "w")
    assert other == ArtifactKey("metrics_report", "visa", "pcb1", "dino", "w")
    with pytest.raises(ValueError, match="expected asset or asset@"):
        InputReference.parse("metrics_report@visa/pcb1")


def test_a_category_has_its_dataset_before_it() -> None:
    assert split_category("mvtec_ad/bottle") == ("mvtec_ad", "bottle")
    assert split_category(None) == (None, None)
    with pytest.raises(ValueError, match="expected dataset/category"):
        split_category("bottle")
