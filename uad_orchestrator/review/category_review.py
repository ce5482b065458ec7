"""Judging the images of one category, taking a judgement back, and completing what a kill left half done.

What is done, and in which order: the judgement is noted, the file is made, the file is noted. So a judgement outlives
a kill at any moment, and ``complete`` sees from the notes what is missing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uad_orchestrator.inference.records.record_files import inside
from uad_orchestrator.review.filing import CannotJudge, Filing
from uad_orchestrator.review.judgement import Judged, Judgement, Verdict, now, standing
from uad_orchestrator.review.judgement_file import JudgementFile
from uad_orchestrator.storage.digests import file_digest

if TYPE_CHECKING:
    from uad_orchestrator.review.stopped import StoppedImage


class JudgedMeanwhile(RuntimeError):
    """Somebody else judged the image, or took a judgement back, since it was looked at."""


@dataclass(frozen=True)
class CategoryReview:
    """The review of one category.

    Attributes:
        records: the folder that the line is recorded to.
        category: ``dataset/category``.
        filing: its folders as they are now.
        no_intake: holds off the ingestion of new normals; raises TimeoutError where one is at work.
    """

    records: Path
    category: str
    filing: Callable[[], Filing]
    no_intake: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def judgements(self) -> JudgementFile:
        """The category's file of judgements."""
        return JudgementFile(self.records, self.category)

    def judge(
        self,
        image: StoppedImage,
        picture: Path,
        verdict: Verdict,
        *,
        by: str,
        defect_type: str | None = None,
        seen: str | None = None,
    ) -> Judged:
        """Judge an image, and put it where it belongs.

        Args:
            image: it, with its records.
            picture: the file that was kept of it.
            verdict: what is said of it.
            by: who says it.
            defect_type: of a defect.
            seen: id of the judgement that the person knew of, which is replaced; None: there was none.

        Raises:
            JudgedMeanwhile: another judgement stands.
            CannotJudge: the image cannot be judged so; nothing was noted.
            OSError: the judgement is noted, its file could not be made; ``complete`` will.
        """
        with self.judgements.alone():
            before = standing(self.judgements.read()).get(image.digest)
            if (before.judgement.id if before else None) != seen:
                raise JudgedMeanwhile(
                    f"{image.newest.image} is {before.told() if before else 'not judged now'}"
                )
            if before and before.judgement.verdict != "unsure":
                raise CannotJudge(f"{image.newest.image} is {before.told()}: undo that first")
            filing, content = self.filing(), file_digest(picture)
            filing.check(verdict, defect_type, picture, content)
            judgement = Judgement(
                id=uuid.uuid4().hex,
                time=now(),
                by=by,
                category=self.category,
                image=image.newest.image,
                digest=image.digest,
                verdict=verdict,
                defect_type=defect_type,
                picture=picture.relative_to(self.records).as_posix(),
                content=content,
                stopped=image.stops(),
            )
            self.judgements.add_judgement(judgement)
            self._file(judgement, filing)
            return self.find(judgement.id)

    def undo(self, judgement_id: str, *, by: str) -> Judged:
        """Take a judgement back, and its file away, unless a recalibration took that in.

        Raises:
            CannotJudge: there is no such judgement, it was taken back already, or its image taken in.
        """
        judged = self.find(judgement_id)
        filed = judged.judgement.verdict != "unsure"
        with ExitStack() as turns:
            if filed:
                try:
                    turns.enter_context(self.no_intake())
                except TimeoutError as error:
                    raise CannotJudge("a recalibration is at work: try again when it has ended") from error
            turns.enter_context(self.judgements.alone())
            judged = self.find(judgement_id)
            if not judged.stands:
                raise CannotJudge(f"it was undone by {judged.undone_by} already")
            filing = self.filing()
            if filed and (gone := self._gone(judged, filing)):
                raise CannotJudge(gone)
            self.judgements.add("undone", judgement_id, by=by)
            if filed:
                self._remove(self.find(judgement_id), filing)
            return self.find(judgement_id)

    def complete(self) -> list[str]:
        """Finish what was half done when a process was killed; what cannot be finished, or read, in words."""
        with self.judgements.alone():
            judged, faults = self.judgements.read_all()
            half = [one for one in judged if one.judgement.verdict != "unsure" and _is_half_done(one)]
            return [*faults, *(self._completed(half, judged) if half else ())]

    def find(self, judgement_id: str) -> Judged:
        """A judgement by its id.

        Raises:
            CannotJudge: there is none.
        """
        for judged in self.judgements.read():
            if judged.judgement.id == judgement_id:
                return judged
        raise CannotJudge(f"there is no judgement {judgement_id!r} of {self.category}")

    def _completed(self, half: list[Judged], judged: list[Judged]) -> Iterator[str]:
        filing = self.filing()
        claimed = set()
        for one in standing(judged).values():
            with suppress(CannotJudge):  # it has no file
                claimed |= {filing.target(one.judgement)} if one not in half else set()
        for one in half:
            said = one.judgement
            try:
                if one.stands:
                    self._file(said, filing)
                else:
                    self._remove(one, filing, keep=filing.target(said) in claimed)
            except (OSError, ValueError) as error:
                yield f"{said.image}, {one.told()}: {error}"

    def _file(self, judgement: Judgement, filing: Filing) -> None:
        if judgement.verdict != "unsure":
            filed = filing.file(judgement, inside(self.records, judgement.picture))
            self.judgements.add("filed", judgement.id, path=str(filed.path), added=filed.added)

    def _remove(self, judged: Judged, filing: Filing, *, keep: bool = False) -> None:
        """Take its file away; ``keep``: it is the file of a judgement that stands, too."""
        if judged.added and not keep:
            filing.remove(judged.judgement)
        self.judgements.add("removed", judged.judgement.id)

    def _gone(self, judged: Judged, filing: Filing) -> str | None:
        """Why its file is not where it was put; None if it is there, or never was."""
        said = judged.judgement
        if judged.taken_as is not None:
            return f"{said.image} was taken in already, as {judged.taken_as}: remove it there, or name it in `exclude`"
        if judged.filed_as is None or not judged.added:
            return None
        if filing.has(filing.target(said), said.content):
            return None
        where = (
            f"it is in quarantine: {judged.held_for}" if judged.held_for else "it was taken in, or removed"
        )
        return f"{said.image} is not at {judged.filed_as} any more: {where}"


def _is_half_done(judged: Judged) -> bool:
    return judged.filed_as is None if judged.stands else not judged.removed
