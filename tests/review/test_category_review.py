"""Judging, undoing, kills between the steps: nothing is lost, nothing is there twice."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.review.line import CATEGORY, plain_filing, record_image
from uad_orchestrator.review.category_review import CategoryReview, JudgedMeanwhile
from uad_orchestrator.review.filing import CannotJudge, Filing, KnownImage
from uad_orchestrator.review.judgement import standing
from uad_orchestrator.review.stopped import StoppedImage, StoppedRecords


class Line:
    """A recorded line with some images, and its review."""

    def __init__(self, home: Path, images: int = 1) -> None:
        self.home, self.records = home, home / "records"
        for number in range(images):
            record_image(self.records, number)
        self.stopped = StoppedRecords(self.records, [(CATEGORY, "patchcore")])
        self.images = sorted(self.stopped.images(), key=lambda image: image.newest.image)
        self.filing = plain_filing(home)
        self.review = CategoryReview(self.records, CATEGORY, lambda: self.filing)

    def judge(self, verdict: str, kind: str | None = None, number: int = 0, **more: object):
        image = self.images[number]
        return self.review.judge(image, self.picture(image), verdict, by="anna", defect_type=kind, **more)

    def picture(self, image: StoppedImage) -> Path:
        path = self.stopped.picture(image.newest)
        assert path is not None
        return path

    def files(self) -> set[str]:
        """What lies in the folders that images are judged into."""
        folders = (self.home / "data", self.home / "arriving")
        return {
            str(path.relative_to(self.home))
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_a_normal_goes_to_incoming_and_a_defect_becomes_a_test_image(tmp_path):
    line = Line(tmp_path, images=3)
    names = [f"cam-{n}-{image.digest[:12]}.png" for n, image in enumerate(line.images)]
    assert line.judge("normal").filed_as == str(tmp_path / "arriving/disc" / names[0])
    line.judge("defect", "scratch", 1)
    line.judge("defect", "oil stain", 2)
    assert line.files() == {
        f"arriving/disc/{names[0]}",
        f"data/disc/test/scratch/{names[1]}",
        f"data/disc/test/oil stain/{names[2]}",
    }
    for place, image in zip(sorted(line.files()), (0, 2, 1), strict=True):
        assert (tmp_path / place).read_bytes() == line.picture(line.images[image]).read_bytes()


def test_unsure_files_nothing_and_can_be_decided_later(line):
    unsure = line.judge("unsure")
    assert (line.files(), unsure.filed_as) == (set(), None)
    line.judge("normal", seen=unsure.judgement.id)
    assert len(line.files()) == 1
    with pytest.raises(CannotJudge, match="undo that first"):
        now = standing(line.review.judgements.read())[line.images[0].digest]
        line.judge("defect", "scratch", seen=now.judgement.id)


def test_the_second_of_two_reviewers_is_told(line):
    line.judge("defect", "scratch")
    with pytest.raises(JudgedMeanwhile, match=r"judged defect \(scratch\) by anna at 20"):
        line.judge("normal")
    assert len(line.files()) == 1


def test_of_many_at_once_one_judges(line):
    def judge(verdict: str) -> str:
        try:
            line.judge(verdict, "scratch" if verdict == "defect" else None)
            return "judged"
        except JudgedMeanwhile:
            return "told"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(judge, ["normal", "defect"] * 6))
    assert sorted(said) == ["judged"] + ["told"] * 11
    assert len(line.files()) == 1


def test_what_was_undone_meanwhile_is_told_too(line):
    unsure = line.judge("unsure").judgement.id
    line.review.undo(unsure, by="ben")
    with pytest.raises(JudgedMeanwhile, match="not judged now"):
        line.judge("normal", seen=unsure)


def test_undo_removes_the_file_once(line):
    judged = line.judge("normal")
    undone = line.review.undo(judged.judgement.id, by="ben")
    assert (line.files(), undone.undone_by, undone.removed) == (set(), "ben", True)
    with pytest.raises(CannotJudge, match="undone by ben already"):
        line.review.undo(judged.judgement.id, by="ben")
    with pytest.raises(CannotJudge, match="no judgement 'nothing'"):
        line.review.undo("nothing", by="ben")


def test_what_was_taken_in_cannot_be_undone(line):
    judged = line.judge("normal")
    Path(judged.filed_as).unlink()
    with pytest.raises(CannotJudge, match="was taken in, or removed"):
        line.review.undo(judged.judgement.id, by="ben")
    line.review.judgements.add("taken", judged.judgement.id, path="disc/train/good/a.png")
    with pytest.raises(CannotJudge, match=r"was taken in already, as disc/train/good/a\.png"):
        line.review.undo(judged.judgement.id, by="ben")
    assert standing(line.review.judgements.read())


def test_a_file_of_other_content_is_never_removed(line):
    judged = line.judge("defect", "scratch")
    Path(judged.filed_as).write_bytes(b"something else")
    with pytest.raises(CannotJudge, match="not at"):
        line.review.undo(judged.judgement.id, by="ben")
    assert Path(judged.filed_as).read_bytes() == b"something else"


def test_what_was_undone_is_judged_otherwise_though_the_dataset_was_listed_in_between(line):
    judged = line.judge("defect", "scratch")
    place = str(Path(judged.filed_as).relative_to(line.filing.root))
    line.filing = replace(line.filing, known={judged.judgement.content: KnownImage(place, defective=True)})
    line.review.undo(judged.judgement.id, by="anna")
    assert line.judge("normal").filed_as.startswith(str(line.home / "arriving"))


def test_undo_waits_for_no_recalibration(line):
    judged = line.judge("normal")

    @contextmanager
    def at_work():
        raise TimeoutError("another ingestion is at work")
        yield

    busy = replace(line.review, no_intake=at_work)
    with pytest.raises(CannotJudge, match="a recalibration is at work"):
        busy.undo(judged.judgement.id, by="ben")
    assert line.files() and standing(line.review.judgements.read())


@pytest.mark.parametrize(
    ("verdict", "kind", "changes", "said"),
    [
        ("normal", None, {"incoming": None}, "no `incoming` folder"),
        ("defect", "scratch", {"masks_required": True}, "masks: required"),
        ("defect", "scratch", {"refusal": "published"}, "published"),
        ("defect", "a/b", {}, "cannot be a type of defect: it holds a slash"),
        ("defect", None, {}, "a defect has a type"),
        ("normal", "scratch", {}, "a defect has a type"),
    ],
)
def test_a_refusal_comes_before_the_judgement(line, verdict, kind, changes, said):
    line.filing = replace(line.filing, **changes)
    with pytest.raises(CannotJudge, match=said):
        line.judge(verdict, kind)
    assert (line.files(), line.review.judgements.read()) == (set(), [])
    if "refusal" not in changes:
        assert line.judge("unsure").stands


def test_a_picture_that_cannot_be_decoded_is_refused(line):
    picture = line.picture(line.images[0])
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(CannotJudge, match="cannot be decoded"):
        line.judge("normal")


@pytest.mark.parametrize(
    ("path", "defective", "verdict", "kind", "said"),
    [
        ("disc/train/good/0.png", False, "normal", None, None),
        ("disc/train/good/0.png", False, "defect", "scratch", "as disc/train/good/0.png, normal"),
        ("disc/test/scratch/cam1/0.png", True, "defect", "scratch", None),
        ("disc/test/scratch/0.png", True, "defect", "dent", "move it there if its type is 'dent'"),
        ("disc/test/scratch/0.png", True, "normal", None, "as disc/test/scratch/0.png, a defect"),
        ("disc/train/good/0.png", None, "normal", None, "excludes this very image, disc/train/good/0.png"),
    ],
)
def test_an_image_that_the_dataset_has_is_not_there_twice(line, path, defective, verdict, kind, said):
    (line.home / "data" / path).parent.mkdir(parents=True)
    shutil.copy(line.picture(line.images[0]), line.home / "data" / path)
    line.filing = replace(line.filing, known={line.images[0].digest: KnownImage(path, defective)})
    if said:
        with pytest.raises(CannotJudge, match=said):
            line.judge(verdict, kind)
        return
    judged = line.judge(verdict, kind)
    assert (judged.filed_as, judged.added) == (str(line.home / "data" / path), False)
    line.review.undo(judged.judgement.id, by="anna")
    assert line.files() == {f"data/{path}"}, "it was there before"


def test_a_test_image_of_the_same_name_that_was_there_before_stays(line):
    image = line.images[0]
    path = f"disc/test/scratch/cam-0-{image.digest[:12]}.png"
    (line.home / "data" / path).parent.mkdir(parents=True)
    shutil.copy(line.picture(image), line.home / "data" / path)
    line.filing = replace(line.filing, known={image.digest: KnownImage(path, True)})
    line.review.undo(line.judge("defect", "scratch").judgement.id, by="anna")
    assert line.files() == {f"data/{path}"}


def test_a_file_that_was_made_is_not_made_again_from_a_picture_that_is_gone(line):
    with pytest.raises(Killed):
        dies_at(line, "filed").judge(line.images[0], line.picture(line.images[0]), "normal", by="anna")
    line.picture(line.images[0]).unlink()
    assert line.review.complete() == []
    (found,) = line.review.judgements.read()
    assert {str(Path(found.filed_as or "").relative_to(line.home))} == line.files()


def test_a_judgement_whose_picture_went_before_its_file_was_made_is_told(line):
    with pytest.raises(Killed):
        dies_at(line, "file").judge(line.images[0], line.picture(line.images[0]), "normal", by="anna")
    line.picture(line.images[0]).unlink()
    (fault,) = line.review.complete()
    assert fault.startswith("cam-0.png, judged normal by anna at 20") and "No such file" in fault


def test_half_done_where_nothing_is_taken_in_any_more_is_told(tmp_path):
    line = Line(tmp_path, images=2)
    line.judge("normal")
    with pytest.raises(Killed):
        dies_at(line, "file").judge(line.images[1], line.picture(line.images[1]), "normal", by="anna")
    line.filing = replace(line.filing, incoming=None)
    (fault,) = line.review.complete()
    assert fault.startswith("cam-1.png") and "there is no place" in fault


def test_completing_an_undone_judgement_leaves_the_file_of_the_next_one(line):
    first = line.judge("normal").judgement.id
    with pytest.raises(Killed):
        dies_at(line, "remove").undo(first, by="anna")
    assert len(line.files()) == 1, "killed before it was taken away"
    line.judge("normal")
    assert line.review.complete() == []
    assert len(line.files()) == 1 and all(one.removed or one.stands for one in line.review.judgements.read())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("defect_type", "../../../elsewhere"),
        ("defect_type", "/elsewhere"),
        ("defect_type", ".."),
        ("picture", "../secret.png"),
        ("picture", "{home}/secret.png"),
    ],
)
def test_a_line_that_somebody_wrote_into_the_records_makes_no_file_elsewhere(line, key, value):
    judged = line.judge("defect", "scratch")
    line.review.undo(judged.judgement.id, by="anna")
    shutil.copyfile(line.picture(line.images[0]), line.home / "secret.png")
    before = {path for path in line.home.rglob("*") if path.is_file()}
    forged = judged.judgement.to_json() | {"id": "f" * 32, key: value.format(home=line.home)}
    with line.review.judgements.path.open("a") as file:
        file.write(json.dumps({"event": "judged"} | forged) + "\n")
    (fault,) = line.review.complete()
    assert "is no event of a judgement" in fault
    assert {path for path in line.home.rglob("*") if path.is_file()} == before


# A model of all that can happen to three images: their verdicts, kills between the steps, and recalibrations.

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["judge", "undo", "start", "recalibrate"]),
        st.integers(0, 2),
        st.sampled_from([("normal", None), ("defect", "scratch"), ("defect", "dent"), ("unsure", None)]),
        st.sampled_from([None, "filed", "file", "undone", "remove", "removed"]),
    ),
    max_size=14,
)


class Killed(BaseException):
    """As if the process had ended here."""


def dies_at(line: Line, step: str | None) -> CategoryReview:
    """The review as another process would have it, that is killed before it takes a step."""

    class Dying(type(line.review.judgements)):
        def add(self, event: str, judgement_id: str, **values: object) -> None:
            if event == step:
                raise Killed
            super().add(event, judgement_id, **values)

    class Frail(Filing):
        def file(self, *arguments: object) -> object:
            if step == "file":
                raise Killed
            return super().file(*arguments)

        def remove(self, *arguments: object) -> None:
            if step == "remove":
                raise Killed
            super().remove(*arguments)

    class Doomed(CategoryReview):
        @property
        def judgements(self) -> Dying:
            return Dying(self.records, self.category)

    return Doomed(line.records, CATEGORY, lambda: Frail(**vars(line.filing)))


@settings(max_examples=40)
@given(ACTIONS)
def test_any_history_with_kills_ends_in_what_stands(actions):
    with TemporaryDirectory() as folder:
        line = Line(Path(folder).resolve(), images=3)
        said: dict[int, tuple[str, str | None]] = {}
        taken: set[int] = set()
        for action, number, (verdict, kind), step in actions:
            if action == "start":
                assert line.review.complete() == []
            elif action == "recalibrate":
                line.review.complete()
                taken |= recalibrate(line)
            elif action == "judge":
                judge(line, number, verdict, kind, step, said)
            else:
                undo(line, number, step, said, taken)
            assert {n: spoken(line, n) for n in range(3) if spoken(line, n)} == said
        assert line.review.complete() == []
        assert line.files() == expected(line, said, taken)
        before = line.review.judgements.path.read_bytes() if said else b""
        assert line.review.complete() == []
        assert not said or line.review.judgements.path.read_bytes() == before, "there is nothing left to do"


def judge(line: Line, number: int, verdict: str, kind: str | None, step: str | None, said: dict) -> None:
    now = standing(line.review.judgements.read()).get(line.images[number].digest)
    seen = now.judgement.id if now else None
    try:
        image = line.images[number]
        dies_at(line, step).judge(image, line.picture(image), verdict, by="anna", defect_type=kind, seen=seen)
    except CannotJudge:
        assert said[number][0] != "unsure"
        return
    except Killed:
        pass
    said[number] = (verdict, kind)


def undo(line: Line, number: int, step: str | None, said: dict, taken: set[int]) -> None:
    now = standing(line.review.judgements.read()).get(line.images[number].digest)
    if now is None:
        return
    try:
        dies_at(line, step).undo(now.judgement.id, by="anna")
    except CannotJudge:
        assert number in taken
        return
    except Killed:
        if step == "undone":
            return
    left = standing(line.review.judgements.read()).get(line.images[number].digest)
    said.pop(number)
    if left:
        said[number] = (left.judgement.verdict, left.judgement.defect_type)


def recalibrate(line: Line) -> set[int]:
    """What lies in ``incoming`` is taken in, as an ingestion does it."""
    taken = set()
    by_content = {one.judgement.content: one for one in standing(line.review.judgements.read()).values()}
    folder = line.home / "arriving/disc"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        number = next(n for n, image in enumerate(line.images) if image.digest[:12] in path.name)
        target = line.home / "data/disc/train/good" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        one = by_content[line.images[number].digest]
        line.review.judgements.add("taken", one.judgement.id, path=f"disc/train/good/{path.name}")
        taken.add(number)
    return taken


def spoken(line: Line, number: int) -> tuple[str, str | None] | None:
    found = standing(line.review.judgements.read()).get(line.images[number].digest)
    return (found.judgement.verdict, found.judgement.defect_type) if found else None


def expected(line: Line, said: dict, taken: set[int]) -> set[str]:
    places = {"normal": "arriving/disc", "defect": "data/disc/test"}
    found = set()
    for number, (verdict, kind) in said.items():
        name = f"cam-{number}-{line.images[number].digest[:12]}.png"
        if number in taken:
            found.add(f"data/disc/train/good/{name}")
        elif verdict != "unsure":
            found.add(f"{places[verdict]}/{kind}/{name}" if kind else f"{places[verdict]}/{name}")
    return found
