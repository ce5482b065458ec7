"""The embedding cache: what is stored comes back, what is damaged counts as missing."""

from pathlib import Path

import numpy as np
import pytest

from uad_orchestrator.storage.embedding_cache import EmbeddingCache, HeldEmbeddings

KEY = ("space", "rot0", "ab" * 32)
ENTRY = {"patch_embeddings": np.arange(6, dtype=np.float16).reshape(2, 3), "seconds": np.array(0.5)}


def test_an_entry_comes_back(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache")
    assert cache.get(*KEY) is None
    cache.put(*KEY, ENTRY)
    found = cache.get(*KEY)
    assert found is not None and found.keys() == ENTRY.keys()
    assert found["patch_embeddings"].dtype == np.float16
    assert np.array_equal(found["patch_embeddings"], ENTRY["patch_embeddings"])


@pytest.mark.parametrize("other", [("other", *KEY[1:]), ("space", "rot45", KEY[2]), (*KEY[:2], "cd" * 32)])
def test_every_part_of_the_key_counts(tmp_path: Path, other: tuple[str, str, str]) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(*KEY, ENTRY)
    assert cache.get(*other) is None


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
def test_a_damaged_entry_is_removed_and_counts_as_missing(tmp_path: Path, damage: str) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(*KEY, {"patch_embeddings": np.arange(4000, dtype=np.float16)})
    (path,) = tmp_path.rglob("*.npz")
    content = bytearray(path.read_bytes())
    content[3000] ^= 0xFF
    path.write_bytes(
        {"empty": b"", "cut": content[:500], "flipped": bytes(content), "text": b"hello"}[damage]
    )
    assert cache.get(*KEY) is None
    assert not path.exists()
    cache.put(*KEY, ENTRY)
    assert cache.get(*KEY) is not None


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(*KEY, ENTRY)
    (path,) = tmp_path.rglob("*.npz")
    np.savez(path, patch_embeddings=np.array([{"not": "numbers"}], dtype=object))
    assert cache.get(*KEY) is None


def test_a_writer_that_fails_leaves_the_old_entry_and_no_crumbs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put(*KEY, ENTRY)

    def disk_full(file: object, **arrays: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", disk_full)
    with pytest.raises(OSError, match="No space"):
        cache.put(*KEY, {"patch_embeddings": np.zeros(3)})
    monkeypatch.undo()
    found = cache.get(*KEY)
    assert found is not None and np.array_equal(found["patch_embeddings"], ENTRY["patch_embeddings"])
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".npz"]


@pytest.mark.parametrize("bad", ["../outside", "", "a/b", ".hidden"])
def test_keys_stay_inside(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match="key"):
        EmbeddingCache(tmp_path).put("space", "rot0", bad, ENTRY)


def test_what_does_not_fit_into_memory_goes_on_to_the_disk(tmp_path: Path) -> None:
    rows = {"patch_embeddings": np.zeros(100, np.float32)}
    held = HeldEmbeddings(EmbeddingCache(tmp_path), most_bytes=1000)
    for digest in ("aa", "bb", "cc"):
        held.put("space", "rot0", digest, rows)
    rows["patch_embeddings"][:] = 1  # what is held is a copy
    assert [path.stem for path in tmp_path.rglob("*.npz")] == ["cc"]
    for digest in ("aa", "bb", "cc"):
        found = held.get("space", "rot0", digest)
        assert found is not None and not found["patch_embeddings"].any()
    assert held.get("space", "rot45", "aa") is None


def test_an_entry_held_in_memory_is_replaced_and_cannot_be_written_to(tmp_path: Path) -> None:
    held = HeldEmbeddings(EmbeddingCache(tmp_path), most_bytes=1000)
    for value in range(9):  # each takes the room of the one before
        held.put(*KEY, {"patch_embeddings": np.full(100, value, np.float32)})
    found = held.get(*KEY)
    assert found is not None and (found["patch_embeddings"] == 8).all()
    assert not list(tmp_path.rglob("*.npz"))
    with pytest.raises(ValueError, match="read-only"):
        found["patch_embeddings"][0] = 1
