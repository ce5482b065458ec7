"""The file of judgements: what was said is read again, whatever happened to the last line."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from uad_orchestrator.review.judgement import Judgement, Stop, standing
from uad_orchestrator.review.judgement_file import JudgementFile


def judgement(identity: str, digest: str = "d1", verdict: str = "normal") -> Judgement:
    kind = "scratch" if verdict == "defect" else None
    stops = {"patchcore": Stop("0" * 32, 0.7, "reject")}
    place = ("a.png", digest, verdict, kind, "line7/disc/patchcore/2026-11-26/pictures/a.png", "c1", stops)
    return Judgement(identity, "2026-11-26T06:00:00+00:00", "anna", "line7/disc", *place)


def test_what_became_of_a_judgement_is_read_with_it(tmp_path):
    file = JudgementFile(tmp_path, "line7/disc")
    assert file.read() == []
    file.add_judgement(judgement("j1"))
    file.add("filed", "j1", path="/in/a.png", added=True)
    file.add("taken", "j1", path="disc/train/good/a.png")
    file.add("something new", "j1")
    file.add("undone", "unknown", by="ben")
    (found,) = file.read()
    assert found.judgement == judgement("j1")
    assert (found.filed_as, found.taken_as, found.stands) == ("/in/a.png", "disc/train/good/a.png", True)
    assert found.told() == "judged normal by anna at 2026-11-26 06:00 UTC"


def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path):
    file = JudgementFile(tmp_path, "line7/disc")
    file.add_judgement(judgement("j1"))
    file.add_judgement(judgement("j2"))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-40])
    file.add_judgement(judgement("j3"))
    judged, (fault,) = file.read_all()
    assert [one.judgement.id for one in judged] == ["j1", "j3"] and "line 2 is no event" in fault
    assert file.path.read_bytes().startswith(whole[:-40] + b"\n")


def test_a_verdict_that_nobody_knows_is_passed_over(tmp_path):
    file = JudgementFile(tmp_path, "line7/disc")
    file.add_judgement(judgement("j1"))
    text = file.path.read_text()
    file.path.write_text(text + text.replace('"normal"', '"fine"').replace('"j1"', '"j2"'))
    judged, (fault,) = file.read_all()
    assert [one.judgement.id for one in judged] == ["j1"] and "fine" in fault


def test_the_last_judgement_that_was_not_taken_back_stands(tmp_path):
    file = JudgementFile(tmp_path, "line7/disc")
    for identity, verdict in (("j1", "unsure"), ("j2", "defect")):
        file.add_judgement(judgement(identity, verdict=verdict))
    assert standing(file.read())["d1"].judgement.id == "j2"
    file.add("undone", "j2", by="ben")
    assert standing(file.read())["d1"].judgement.id == "j1"


def test_many_writers_lose_no_line(tmp_path):
    file = JudgementFile(tmp_path, "line7/disc")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: file.add_judgement(judgement(f"j{number}", f"d{number}")), range(60)))
    assert len(file.read()) == 60
    assert all(json.loads(line) for line in file.path.read_text().splitlines())
