"""``storage: {embeddings: shared}``: another machine embeds nothing that one has, and no figure moves."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from tests.object_store import ObjectStore, running_store
from tests.orchestration.workshop import Workshop
from uad_orchestrator.orchestration.assets.metadata import describe_stage
from uad_orchestrator.orchestration.cells.board import report_of
from uad_orchestrator.orchestration.cells.cell_run import EMBEDDING_COUNTS
from uad_orchestrator.orchestration.dagster_instance.instance import open_instance
from uad_orchestrator.orchestration.execution.cell_runs import Materialized
from uad_orchestrator.orchestration.execution.refresh import RefreshResult
from uad_orchestrator.orchestration.services.housekeeping import SHARED_DAYS, collect, current_spaces
from uad_orchestrator.orchestration.services.project_check.check import check_project
from uad_orchestrator.orchestration.versions.stores import open_state, open_store
from uad_orchestrator.project import ProjectError
from uad_orchestrator.storage.array_file import read_arrays
from uad_orchestrator.storage.shared_embeddings import SHARED, shared_spaces


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStore]:
    with running_store() as server:
        yield server


@pytest.fixture(scope="module")
def first(s3: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A machine that has computed a cell on S3, and shared its embeddings."""
    made = Workshop.build(tmp_path_factory.mktemp("homes") / "first", {"parts": ["bolt"]})
    url = s3.folder()

    def on_s3(values: dict[str, Any]) -> None:
        values["storage"] = {"root": url, "local": "local", "embeddings": "shared"}
        values["detectors"] = {"patchcore": values["detectors"]["patchcore"]}

    made.edit(on_s3)
    assert made.refresh().embedded_images == 10
    return made


def other_bank(values: dict[str, Any]) -> None:
    """Artifacts that nobody has, of embeddings that are there."""
    values["detectors"]["patchcore"]["coreset"] = {"ratio": 0.3}


def another_machine(first: Workshop, folder: Path, **storage: str) -> Workshop:
    """The same project on a machine that has computed nothing."""
    made = first.copied_to(folder)
    shutil.rmtree(made.home / "local")
    made.edit(other_bank)
    made.edit(lambda values: values["storage"].update(storage))
    return made


def bank(home: Workshop) -> dict[str, np.ndarray]:
    """The arrays of the current memory bank."""
    state, store = open_state(home.project), open_store(home.project)
    (cell,) = state.cells
    folder = store.open_dir(cell.artifact_key("memory_bank", state.version("memory_bank", cell)))
    (file,) = folder.rglob("*.npz")
    return read_arrays(file)


def figures(home: Workshop) -> dict[str, float | None]:
    """All but the times."""
    state = open_state(home.project)
    found = report_of(state.cells[0], state, open_store(home.project))
    assert found is not None
    return {name: value for name, value in found.metrics.items() if "second" not in name}


def test_another_machine_embeds_nothing_and_finds_the_same(
    s3: ObjectStore, first: Workshop, tmp_path: Path
) -> None:
    alone = another_machine(first, tmp_path / "alone", root=str(tmp_path / "root"), embeddings="local")
    assert alone.refresh().embedded_images == 10
    second = another_machine(first, tmp_path / "second")
    s3.requests.clear()
    result = second.refresh()
    assert not result.failed and result.embedded_images == 0
    assert result.to_json()["fetched_embeddings"] == 10
    fetched = [request for request in s3.requests if request.startswith("GET") and ".embedding" in request]
    assert len(fetched) == 10, "each once"
    ours, theirs = bank(second), bank(alone)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert np.array_equal(array, theirs[name]), name
    assert figures(second) == figures(alone)


def test_check_says_the_size_and_gc_takes_what_nobody_has_used_for_a_while(
    first: Workshop, tmp_path: Path
) -> None:
    home, root = first.copied_to(tmp_path / "home"), tmp_path / "drive"
    home.edit(lambda values: values["storage"].update(root=str(root)))
    (used,) = current_spaces(home.project)
    location = open_store(home.project).location
    for space in (used, "of-an-earlier-preset", "of-another-machine"):
        location.write(SHARED / space / "parts/bolt/rot0/ab.embedding", bytes(500_000))
    location.write(SHARED / "notes/by hand.txt", b"not ours")
    notes = check_project(home.project).notes
    assert any(f"2 MB of shared embeddings in {root}/embeddings, of 3" in note for note in notes)
    assert not any("of shared" in note for note in check_project(home.project, quick=True).notes)
    assert not collected(home), "it was written a moment ago"
    long_ago = time.time() - (SHARED_DAYS + 1) * 86400
    for name in location.files(SHARED):
        if "another" not in name:
            os.utime(root / name, (long_ago, long_ago))
    assert collected(home, dry_run=True) == collected(home) == [str(root / SHARED / "of-an-earlier-preset")]
    assert set(shared_spaces(location)) == {used, "of-another-machine"}
    assert (root / SHARED / "notes/by hand.txt").is_file()


def collected(home: Workshop, *, dry_run: bool = False) -> list[str]:
    with open_instance(home.project) as instance:
        found = collect(home.project, instance, dry_run=dry_run)
    return [str(left.what) for left in found.leftovers if str(SHARED) in str(left.what)]


def test_shared_through_the_machines_own_folder_is_refused(first: Workshop, tmp_path: Path) -> None:
    home = first.copied_to(tmp_path / "home")
    home.edit(lambda values: values.update(storage={"root": ".uad", "embeddings": "shared"}))
    with pytest.raises(ProjectError, match=r"storage\.embeddings.*already.*`local`"):
        _ = home.project


def test_fetching_slower_than_computing_is_said_with_its_figures() -> None:
    node = Materialized("memory_bank", "parts/bolt", "p", "3f2a", False, 9.0)
    fetched = replace(node, fetched_embeddings=200, fetched_seconds=30.0, embedded_seconds_each=0.1)
    said = RefreshResult(materialized=[node, fetched]).slow_fetching
    assert said is not None and said.startswith("200 embeddings fetched from the store in 30.0 s")
    assert "about 0.100 s where they were computed, 20.0 s in all" in said
    mixed = RefreshResult(materialized=[replace(fetched, embedded_views=3)]).slow_fetching
    assert mixed is not None and "about 0.100 s here" in mixed
    assert RefreshResult(materialized=[replace(fetched, fetched_seconds=19.9)]).slow_fetching is None
    assert RefreshResult(materialized=[node]).slow_fetching is None


def test_an_artifact_that_was_there_says_nothing_of_what_was_embedded_for_it(tmp_path: Path) -> None:
    facts = {"bank_rows": 7, "preset": "vit"} | dict.fromkeys(EMBEDDING_COUNTS, 3)
    shown = describe_stage("memory_bank", tmp_path, Mock(metrics={}, facts=facts))
    assert shown == {"dagster/row_count": 7, "bank_rows": 7, "preset": "vit"}
    assert set(EMBEDDING_COUNTS) < set(Materialized.__annotations__)
