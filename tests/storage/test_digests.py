"""Digests of values and of files."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from uad_orchestrator.storage import digests
from uad_orchestrator.storage.digests import DigestCache, digest_of, file_digest

finite = st.floats(allow_nan=False, allow_infinity=False)
short = st.text(max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | short,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=6,
)


class Gamma(BaseModel):
    method: str = "gamma"
    gamma: float = 1.0


@settings(max_examples=50)
@given(value=st.dictionaries(short, values, max_size=4))
def test_the_order_of_keys_does_not_matter(value: dict) -> None:
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)


@settings(max_examples=50)
@given(one=values, other=values)
def test_values_of_one_digest_are_the_same_json(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of(one) == digest_of(other)) == same


def test_a_digest_is_that_of_the_canonical_json() -> None:
    expected = hashlib.sha256('{"a":[1,2.5,"é"],"b":null}'.encode()).hexdigest()
    assert digest_of({"b": None, "a": (1, 2.5, "é")}) == expected


def test_models_count_by_their_values_wherever_they_stand() -> None:
    assert digest_of({"steps": [Gamma(gamma=1)]}) == digest_of({"steps": [{"gamma": 1.0, "method": "gamma"}]})
    assert digest_of(Gamma(gamma=1.2)) != digest_of(Gamma())


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 7])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path, size: int, kind: type) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert file_digest(kind(tmp_path / "file")) == hashlib.sha256(content).hexdigest()


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    for path, error in ((tmp_path / "lost", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            file_digest(path)


@pytest.mark.parametrize(
    ("value", "error", "place"),
    [
        ({"a": {"b": Path("x")}}, TypeError, r"value\.a\.b is a PosixPath|value\.a\.b is a WindowsPath"),
        ({"a": [1, float("nan")]}, ValueError, r"value\.a\[1\] is nan"),
        ({"a": {1: "x"}}, TypeError, r"value\.a: the key 1 is a int"),
        (Gamma(gamma=float("inf")), ValueError, r"value\.gamma is inf"),
        ({1, 2}, TypeError, "value is a set"),
    ],
)
def test_what_json_has_no_word_for_is_named(value: object, error: type[Exception], place: str) -> None:
    with pytest.raises(error, match=place):
        digest_of(value)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were really read; every file counts as settled at once."""
    read: list[str] = []
    real = digests._hash_unchanged

    def counting(name: str) -> tuple[digests.FileState, str]:
        read.append(Path(name).name)
        return real(name)

    monkeypatch.setattr(digests, "_hash_unchanged", counting)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    return read


def test_a_file_is_read_once_then_remembered_also_by_another_process(
    tmp_path: Path, count: list[str]
) -> None:
    image = written(tmp_path / "000.png", b"pixels")
    expected = hashlib.sha256(b"pixels").hexdigest()
    cache = DigestCache(tmp_path / "local" / "digests.sqlite")
    assert [cache(image), cache(image), cache.many([image])[image]] == [expected] * 3
    assert DigestCache(cache.path)(image) == expected
    assert count == ["000.png"]


def test_changed_pixels_are_noticed_though_name_size_and_mtime_stay(tmp_path: Path, count: list[str]) -> None:
    image = written(tmp_path / "000.png", b"pixels")
    cache = DigestCache(tmp_path / "digests.sqlite")
    cache(image)
    before = image.stat()
    image.write_bytes(b"PIXELS")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_mtime_ns == before.st_mtime_ns
    assert image.stat().st_size == before.st_size
    assert cache(image) == hashlib.sha256(b"PIXELS").hexdigest()


def test_a_replaced_file_is_noticed(tmp_path: Path, count: list[str]) -> None:
    image, other = written(tmp_path / "a.png", b"aaa"), written(tmp_path / "b.png", b"bbb")
    cache = DigestCache(tmp_path / "digests.sqlite")
    cache.many([image, other])
    other.replace(image)
    assert cache(image) == hashlib.sha256(b"bbb").hexdigest()


def test_a_file_hashed_right_after_its_change_is_hashed_again(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"a")
    DigestCache(tmp_path / "digests.sqlite")(image)
    with sqlite3.connect(tmp_path / "digests.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM file_digest").fetchone() == (0,)


def test_rehash_ignores_what_is_remembered(tmp_path: Path, count: list[str]) -> None:
    image = written(tmp_path / "a.png", b"a")
    DigestCache(tmp_path / "digests.sqlite")(image)
    DigestCache(tmp_path / "digests.sqlite", rehash=True)(image)
    assert count == ["a.png", "a.png"]


def test_many_hashes_only_what_is_missing_and_keeps_the_paths_as_given(
    tmp_path: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{n}.png" for n in range(20)]
    for name in names:
        written(tmp_path / name, name.encode())
    cache = DigestCache(tmp_path / "digests.sqlite", threads=4)
    cache.many(tmp_path / name for name in names[:5])
    monkeypatch.chdir(tmp_path)
    found = cache.many(Path(name) for name in names)
    assert found == {Path(name): hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert sorted(count) == sorted(names)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        DigestCache(tmp_path / "digests.sqlite")(tmp_path / "gone.png")


def test_a_file_that_never_holds_still_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "growing.png"
    image.write_bytes(b"a")
    real = digests.FileState.of

    def growing(path: str) -> digests.FileState:
        with image.open("ab") as stream:
            stream.write(b"a")
        return real(path)

    monkeypatch.setattr(digests.FileState, "of", growing)
    with pytest.raises(OSError, match=r"growing\.png changed while it was read"):
        DigestCache(tmp_path / "digests.sqlite")(image)


def test_a_damaged_cache_is_started_anew(
    tmp_path: Path, count: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    image = written(tmp_path / "a.png", b"a")
    file = tmp_path / "digests.sqlite"
    file.write_bytes(b"not a database, but long enough to look at" * 50)
    assert DigestCache(file)(image) == hashlib.sha256(b"a").hexdigest()
    assert "digests.sqlite could not be used" in caplog.text
    assert DigestCache(file)(image) == DigestCache(file)(image)
    assert len(count) <= 2


def test_a_cache_that_cannot_be_used_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
    images = [written(tmp_path / folder / "a.png", b"a") for folder in "abc"]
    (tmp_path / "digests.sqlite").mkdir()
    cache = DigestCache(tmp_path / "digests.sqlite")
    assert len({cache(image) for image in images}) == 1
    assert len(caplog.records) == 1


def test_processes_share_one_cache(tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"{n}.png").write_bytes(bytes([n]))
    time.sleep(2.1)  # the files have to be older than what the cache calls recent
    program = (
        "import sys; from pathlib import Path; from uad_orchestrator.storage.digests import DigestCache;"
        "root = Path(sys.argv[1]); cache = DigestCache(root / 'digests.sqlite');"
        "print(len({cache(p) for p in sorted(root.glob('*.png'))}))"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [worker.communicate(timeout=60)[0].strip() for worker in workers] == ["30"] * 3
    with sqlite3.connect(tmp_path / "digests.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM file_digest").fetchone() == (30,)


@pytest.mark.parametrize(
    "path",
    ["a.txt", "sub/a.txt", "./sub/../a.txt", "sub/..", "/a.txt", "/x//y/a.txt", "sub/", "..", "../a.txt"],
)
def test_a_file_has_one_name_however_it_is_written(path: str) -> None:
    assert digests._absolute([path]) == {path: os.path.abspath(path)}  # noqa: PTH100
