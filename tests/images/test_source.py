"""Image sources: what is read is what the digest was taken of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.orchestration.workshop import write_image
from uad_orchestrator.images.decode import ImageError
from uad_orchestrator.images.formats import iter_sources, sources_from
from uad_orchestrator.images.source import ImageChanged, ImageFile, ImageSource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", np.full((4, 6, 3), 7, np.uint8))
    return tmp_path / "a.png"


def test_a_file_is_read_when_it_is_asked_for_under_the_digest_of_its_bytes(path: Path) -> None:
    source = ImageSource.from_path(path, group="part 3")
    assert source.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.name, source.group, source.size()) == (str(path), "part 3", (4, 6))
    assert source.read().tolist() == np.full((4, 6, 3), 7).tolist()
    named = ImageSource.from_path(path, name="test/good/a.png", digest=source.digest)
    assert (named.name, named.group, named.digest) == ("test/good/a.png",) * 2 + (source.digest,)
    assert np.array_equal(named.read(), source.read())


@pytest.mark.parametrize("known", [True, False])
def test_other_bytes_than_those_of_the_digest_are_refused(path: Path, known: bool) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if known else None
    source = ImageSource.from_path(path, digest=digest)
    before = path.read_bytes()
    write_image(path, np.full((4, 6, 3), 8, np.uint8))
    with pytest.raises(ImageChanged, match=r"a\.png was replaced after it was fingerprinted"):
        source.read()
    path.write_bytes(before)
    assert source.read()[0, 0, 0] == 7
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.png"):
        source.read()


def test_what_is_scored_only_is_not_fingerprinted(path: Path) -> None:
    """No embeddings are kept of it: it is read as it is then."""
    (scored,) = iter_sources([path])
    (fitted,) = sources_from([path])
    assert scored.digest != fitted.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    write_image(path, np.full((5, 6, 3), 8, np.uint8))
    assert scored.read()[0, 0, 0] == 8 and scored.size() == (5, 6)
    with pytest.raises(ImageChanged):
        fitted.read()


def test_a_kept_file_is_read_once(path: Path) -> None:
    (kept,) = iter_sources([path], keep_files=True)
    (plain,) = iter_sources([path])
    data = path.read_bytes()
    assert np.array_equal(kept.read(), plain.read()) and kept.remarks() == plain.remarks()
    write_image(path, np.full((5, 6, 3), 8, np.uint8))
    assert kept.file() == ImageFile.of(data) == ImageFile(hashlib.sha256(data).hexdigest(), data)
    assert kept.read()[0, 0, 0] == 7, "what was hashed is what is decoded"


def test_a_file_that_is_read_in_bands_is_named_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uad_orchestrator.images.source.can_read_bands", lambda _: True)
    tiff = path.rename(path.with_suffix(".tif"))
    (kept,) = iter_sources([tiff], keep_files=True)
    assert kept.file() == ImageFile(hashlib.sha256(tiff.read_bytes()).hexdigest(), tiff)


def test_pixels_in_memory_have_the_digest_of_shape_dtype_and_values() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    digests = {
        ImageSource.from_array(changed, name="a").digest
        for changed in (image, image.reshape(4, 2, 3), image.astype(np.uint16), image + np.uint8(1))
    }
    assert len(digests) == 4
    source = ImageSource.from_array(image[::-1], name="b", group="g")
    assert source.digest == ImageSource.from_array(image[::-1].copy(), name="c").digest
    assert (source.name, source.group, source.size()) == ("b", "g", (2, 4))
