"""A store in a temporary folder, and a way to put artifacts into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.object_store import ObjectStore, running_store
from uad_orchestrator.storage.artifact_key import ArtifactKey
from uad_orchestrator.storage.artifacts import ArtifactStore
from uad_orchestrator.storage.provenance import Provenance

Put = Callable[..., ArtifactKey]


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStore]:
    """A server of S3's kind."""
    with running_store() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "root", local=tmp_path / "local")


@pytest.fixture
def key() -> ArtifactKey:
    return ArtifactKey("memory_bank", "mvtec_ad", "bottle", "patchcore", "3f2a")


@pytest.fixture
def put() -> Put:
    """Writes an artifact: ``put(store, key, {"file": "text"}, inputs=...)``."""

    def write(
        store: ArtifactStore, key: ArtifactKey, files: Mapping[str, str] | None = None, **facts: Any
    ) -> ArtifactKey:
        with store.write(key, Provenance(**vars(key), **facts)) as draft:
            for name, text in (files or {"rows.txt": "rows"}).items():
                path = draft.directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return key

    return write
