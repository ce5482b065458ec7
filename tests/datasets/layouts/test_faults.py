"""Every layout: each fault that its names and headers can show is found, named, and found together with the others."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.datasets.pictures import write_defects_config, write_image, write_mask
from uad_orchestrator.datasets.checks.headers import check_dataset
from uad_orchestrator.datasets.layouts.registry import LAYOUTS
from uad_orchestrator.datasets.load import load_dataset
from uad_orchestrator.datasets.strictness import Strictness


@dataclass(frozen=True)
class Miniature:
    """A category as published: two training images, one good and two defective test images, two masks.

    Attributes:
        root, category: what to load.
        train, good: folders of training and good test images.
        defects, masks: the files of the two defective images and of their masks.
        surplus: where a mask that no image has would lie; None where a layout lists its masks by name.
    """

    root: Path
    category: str
    train: str
    good: str
    defects: tuple[str, str]
    masks: tuple[str, str]
    surplus: str | None

    def write(self, suffix: str = ".png") -> Miniature:
        """Its files."""
        for name in ("000", "001"):
            write_image(self.root / self.train / f"{name}{suffix}")
        write_image(self.root / self.good / f"005{suffix}")
        for image, mask in zip(self.defects, self.masks, strict=True):
            write_image(self.root / image)
            write_mask(self.root / mask)
        return self


def class_folders(root: Path, test: str, good: str, bad: str, mask: str = "_mask") -> Miniature:
    truth = "c/test_public/ground_truth" if test == "test_public" else "c/ground_truth"
    return Miniature(
        root,
        "c",
        f"c/train/{good}",
        f"c/{test}/{good}",
        (f"c/{test}/{bad}/010.png", f"c/{test}/{bad}/011.png"),
        (f"{truth}/{bad}/010{mask}.png", f"{truth}/{bad}/011{mask}.png"),
        f"{truth}/{bad}/099{mask}.png",
    ).write()


def mvtec_loco(root: Path) -> Miniature:
    kind = "logical_anomalies"
    made = Miniature(
        root,
        "c",
        "c/train/good",
        "c/test/good",
        (f"c/test/{kind}/010.png", f"c/test/{kind}/011.png"),
        (f"c/ground_truth/{kind}/010/000.png", f"c/ground_truth/{kind}/011/000.png"),
        f"c/ground_truth/{kind}/099/000.png",
    ).write()
    write_image(root / "c/validation/good/000.png")
    write_defects_config(root / "c", {"missing": 255})
    return made


def mvtec_ad2(root: Path) -> Miniature:
    made = class_folders(root, "test_public", "good", "bad")
    for split in ("validation/good", "test_private", "test_private_mixed"):
        write_image(root / "c" / split / "000.png")
    return made


def mvtec_3d_ad(root: Path) -> Miniature:
    made = Miniature(
        root,
        "c",
        "c/train/good/rgb",
        "c/test/good/rgb",
        ("c/test/hole/rgb/010.png", "c/test/hole/rgb/011.png"),
        ("c/test/hole/gt/010.png", "c/test/hole/gt/011.png"),
        "c/test/good/gt/099.png",
    ).write()
    write_image(root / "c/validation/good/rgb/000.png")
    write_mask(root / "c/test/good/gt/005.png", value=0)
    return made


def kolektor_sdd2(root: Path) -> Miniature:
    made = Miniature(
        root,
        "kolektor_sdd2",
        "train",
        "test",
        ("test/010.png", "test/011.png"),
        ("test/010_GT.png", "test/011_GT.png"),
        "test/099_GT.png",
    ).write()
    for normal in ("train/000", "train/001", "test/005"):
        write_mask(root / f"{normal}_GT.png", value=0)
    return made


def magnetic_tile(root: Path) -> Miniature:
    made = Miniature(
        root,
        "magnetic_tile",
        "MT_Free/Imgs",
        "MT_Free/Imgs",
        ("MT_Crack/Imgs/010.jpg", "MT_Crack/Imgs/011.jpg"),
        ("MT_Crack/Imgs/010.png", "MT_Crack/Imgs/011.png"),
        "MT_Free/Imgs/099.png",
    ).write(".jpg")
    for kind in ("Blowhole", "Break", "Fray", "Uneven"):
        write_image(root / f"MT_{kind}/Imgs/020.jpg")
        write_mask(root / f"MT_{kind}/Imgs/020.png")
    return made


def visa(root: Path) -> Miniature:
    images, masks = "c/Data/Images", "c/Data/Masks/Anomaly"
    made = Miniature(
        root,
        "c",
        f"{images}/Normal",
        f"{images}/Normal",
        (f"{images}/Anomaly/010.JPG", f"{images}/Anomaly/011.JPG"),
        (f"{masks}/010.png", f"{masks}/011.png"),
        f"{masks}/099.png",
    ).write(".JPG")
    rows = [["object", "split", "label", "image", "mask"]]
    for name, split in (("000", "train"), ("001", "train"), ("005", "test")):
        rows.append(["c", split, "normal", f"{images}/Normal/{name}.JPG", ""])
    rows += [["c", "test", "anomaly", *pair] for pair in zip(made.defects, made.masks, strict=True)]
    (root / "split_csv").mkdir()
    with (root / "split_csv/1cls.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return made


def manifest(root: Path) -> Miniature:
    made = Miniature(
        root, "c", "ok", "ok", ("bad/010.png", "bad/011.png"), ("masks/010.png", "masks/011.png"), None
    ).write()
    rows = [
        {"image_path": f"ok/{name}.png", "category": "c", "split": split, "label": 0}
        for name, split in (("000", "train"), ("001", "train"), ("005", "test"))
    ]
    rows += [
        {"image_path": image, "category": "c", "split": "test", "label": 1, "mask_path": mask}
        for image, mask in zip(made.defects, made.masks, strict=True)
    ]
    (root / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return made


BUILDERS: dict[str, Callable[[Path], Miniature]] = {
    "mvtec_ad": lambda root: class_folders(root, "test", "good", "cut"),
    "mpdd": lambda root: class_folders(root, "test", "good", "cut"),
    "folder": lambda root: class_folders(root, "test", "normal", "cut", ""),
    "btad": lambda root: class_folders(root, "test", "ok", "ko", ""),
    "mvtec_ad2": mvtec_ad2,
    "mvtec_loco": mvtec_loco,
    "mvtec_3d_ad": mvtec_3d_ad,
    "kolektor_sdd2": kolektor_sdd2,
    "magnetic_tile": magnetic_tile,
    "visa": visa,
    "manifest": manifest,
}


@pytest.fixture(params=BUILDERS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def made(layout: str, tmp_path: Path) -> Miniature:
    return BUILDERS[layout](tmp_path)


def faults(layout: str, made: Miniature) -> dict[str, str]:
    """The errors where masks are required, as they are of published sets."""
    found = check_dataset(layout, made.root, made.category, strictness=Strictness(masks="required"))
    return {problem.path: problem.message for problem in found if problem.severity == "error"}


def remove(made: Miniature, name: str) -> None:
    path = made.root / name
    path.unlink()
    if path.parent.name == "010":  # a LOCO image's own folder
        path.parent.rmdir()


def test_every_layout_but_the_generated_one_is_tried() -> None:
    assert set(BUILDERS) == set(LAYOUTS) - {"demo"}


def test_as_published_nothing_is_wrong(layout: str, made: Miniature) -> None:
    assert faults(layout, made) == {}
    found = load_dataset(layout, made.root, made.category)
    defective = {record.path: [mask.path for mask in record.masks] for record in found.select("test", 1)}
    assert {name: defective[name] for name in made.defects} == {
        name: [mask] for name, mask in zip(made.defects, made.masks, strict=True)
    }


def test_a_missing_mask_names_the_image_and_what_was_expected(layout: str, made: Miniature) -> None:
    remove(made, made.masks[0])
    found = faults(layout, made)
    assert list(found) == [made.defects[0]]
    assert "mask" in found[made.defects[0]]
    assert "expected" in found[made.defects[0]] or "no such file" in found[made.defects[0]]


def test_a_surplus_mask_is_named(layout: str, made: Miniature) -> None:
    if made.surplus is None:
        pytest.skip("a table lists its masks: there is no surplus")
    write_mask(made.root / made.surplus)
    [(path, message)] = faults(layout, made).items()
    assert path == made.surplus or path == str(Path(made.surplus).parent)
    assert "mask" in message


def test_a_mask_of_another_size_is_named_with_both_sizes(layout: str, made: Miniature) -> None:
    write_mask(made.root / made.masks[0], size=(10, 16))
    found = faults(layout, made)
    assert list(found) == [made.masks[0]]
    assert "10 x 16" in found[made.masks[0]] and "12 x 16" in found[made.masks[0]]


def test_a_file_that_is_no_image_is_named(layout: str, made: Miniature) -> None:
    name = made.defects[1]
    (made.root / name).write_bytes(b"not an image")
    found = faults(layout, made)
    assert found == {name: "not an image; expected PNG, JPEG, BMP, TIFF, WebP, GIF, PGM or PPM"}


def test_an_unknown_category_names_the_nearest(layout: str, made: Miniature) -> None:
    [problem] = check_dataset(layout, made.root, f"{made.category}x")
    assert "unknown category" in problem.message and repr(made.category) in problem.message


def test_where_masks_are_optional_a_missing_one_is_a_warning(layout: str, made: Miniature) -> None:
    if layout == "kolektor_sdd2":
        pytest.skip("its masks are its labels")
    remove(made, made.masks[0])
    optional = Strictness(masks="optional")
    found = check_dataset(layout, made.root, made.category, strictness=optional)
    missing = [(problem.path, problem.severity) for problem in found if "no mask" in problem.message]
    if layout == "manifest":  # it names the file: that it is not there stays an error
        assert not missing
        return
    assert missing == [(made.defects[0], "warning")]
    manifest = load_dataset(layout, made.root, made.category, strictness=optional)
    assert {record.path for record in manifest.select("test", 1)} >= set(made.defects)
    assert [problem.path for problem in manifest.warnings if "no mask" in problem.message] == [
        made.defects[0]
    ]


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_named_beside_other_faults(layout: str, made: Miniature, split: str) -> None:
    if layout == "magnetic_tile":
        pytest.skip("its split is ours: not a folder that can be empty")
    other: set[str] = set()
    if split == "train":
        write_mask(made.root / made.masks[0], size=(10, 16))
        other = {made.masks[0]}
    empty_split(layout, made, split)
    found = faults(layout, made)
    if split == "test" and not LAYOUTS[layout].published:
        shutil.rmtree(made.root / "c/ground_truth", ignore_errors=True)
        warned = check_dataset(layout, made.root, made.category)
        assert ("c", "warning") in {(p.path, p.severity) for p in warned if "no test images" in p.message}
        return
    assert other <= set(found)
    messages = [f"{path}: {message}" for path, message in found.items() if path not in other]
    assert any(split in message and "expected" in message for message in messages)


def empty_split(layout: str, made: Miniature, split: str) -> None:
    """Take the images of a split away, or their rows out of the table."""
    if layout in ("visa", "manifest"):
        table = made.root / ("split_csv/1cls.csv" if layout == "visa" else "manifest.jsonl")
        word = f",{split}," if layout == "visa" else f'"split": "{split}"'
        table.write_text("\n".join(line for line in table.read_text().splitlines() if word not in line))
    elif split == "train":
        for image in (made.root / made.train).iterdir():
            image.unlink()
    else:  # the whole folder: c/test, or Kolektor's test
        shutil.rmtree(made.root.joinpath(*Path(made.good).parts[:2]))


def test_all_of_them_at_once(layout: str, made: Miniature) -> None:
    remove(made, made.masks[0])
    write_mask(made.root / made.masks[1], size=(10, 16))
    expected = {made.defects[0], made.masks[1]}
    if made.surplus is not None:
        write_mask(made.root / made.surplus)
        expected.add(str(Path(made.surplus).parent) if layout == "mvtec_loco" else made.surplus)
    good = next((made.root / made.good).glob("005.*"))
    good.write_bytes(b"")
    expected.add(str(good.relative_to(made.root)))
    if layout == "mvtec_loco":
        (made.root / "c/defects_config.json").unlink()
        expected.add("c/defects_config.json")
    assert set(faults(layout, made)) == expected
