"""One image unlike the others is named; a set whose images differ is left in peace."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.datasets.checks.odd_images import odd_images
from uad_orchestrator.images.header import Header


def header(size: tuple[int, int] = (96, 96), *, grey: bool = False, bits: int = 8) -> Header:
    return Header("PNG", size, 1, grey, bits)


def named(headers: Iterable[Header], others: Iterable[Header] = ()) -> list[str]:
    normals = {f"train/{number}": one for number, one in enumerate(headers)}
    tested = {f"test/{number}": one for number, one in enumerate(others)}
    return [problem.path for problem in odd_images(normals, tested)]


def test_a_grey_one_among_colour_images_is_named() -> None:
    [problem] = odd_images({"a": header(), "b": header(), "c": header(grey=True)}, {})
    assert str(problem) == (
        "c: grey, 8 bits per channel; the other 2 normals are colour, 8 bits per channel: is it one of them?"
    )
    assert problem.severity == "warning"


def test_another_size_or_depth_is_named() -> None:
    assert named([header()] * 8 + [header((96, 95))]) == ["train/8"]
    assert named([header()] * 8 + [header(bits=16)]) == ["train/8"]


def test_a_test_image_of_other_channels_is_named_and_one_of_another_size_is_not() -> None:
    assert named([header()] * 3, [header(), header(grey=True), header((5, 5))]) == ["test/1"]


def test_nothing_is_odd_among_none_one_or_two_that_differ() -> None:
    assert named([]) == named([header()]) == named([header(), header(grey=True)]) == []


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=40))
def test_at_most_a_fifth_is_odd_and_never_what_most_are(kinds: list[tuple[int, bool]]) -> None:
    headers = [header((side, side), grey=grey) for side, grey in kinds]
    odd = named(headers)
    assert len(odd) <= 2 * max(1, len(headers) // 5)  # by size, and by channels
    for path in odd:
        side, grey = kinds[int(path.removeprefix("train/"))]
        sides, greys = [one for one, _ in kinds], [one for _, one in kinds]
        assert 2 * min(sides.count(side), greys.count(grey)) < len(kinds)
