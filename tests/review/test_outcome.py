"""What a recalibration made of judged images, counted."""

from __future__ import annotations

import math

from tests.review.test_judgement_file import judgement
from uad_orchestrator.review.judgement import Judged
from uad_orchestrator.review.outcome import ScoreNow, decided_again

SAID = {"j1": "normal", "j2": "normal", "j3": "defect", "j4": "defect", "j5": "unsure", "j6": "normal"}


def test_alarms_gone_and_misses_come_are_counted():
    judged = [Judged(judgement(name, f"d{name}", verdict)) for name, verdict in SAID.items()]
    scores = {"j1": 0.2, "j2": 0.45, "j3": 0.9, "j4": 0.4, "j6": math.nan}
    asked: list[str] = []

    def score(images: list[Judged]) -> list[ScoreNow]:
        asked.extend(one.judgement.id for one in images)
        return [ScoreNow(scores[one.judgement.id], held=one.judgement.id == "j1") for one in images]

    found = decided_again("line7/disc", "patchcore", judged, score, threshold=0.5, review_threshold=0.4)
    assert asked == ["j1", "j2", "j6", "j3", "j4"], "nobody asks for those left unsure"
    assert [image.decision for image in found.images] == ["pass", "review", None, "reject", "pass"]
    assert (found.passed("normal"), found.passed("defect")) == ((1, 2), (1, 2))
    told = found.to_json()
    assert (told["false_alarms_passed"], told["defects_missed"]) == (
        {"count": 1, "of": 2},
        {"count": 1, "of": 2},
    )
    assert (told["undecided"], told["held"], told["images"][2]["score_now"]) == (1, 1, None)
    assert told["images"][0]["score_before"] == 0.7 and told["images"][0]["decision_before"] == "reject"


def test_an_image_that_a_detector_passed_is_no_alarm_of_it():
    judged = [Judged(judgement("j1"))]
    found = decided_again("line7/disc", "dino", judged, lambda images: [], 0.5, None)
    assert found.images == ()
