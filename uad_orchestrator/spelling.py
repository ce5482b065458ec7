"""Words in messages: what to say of one that is not among the valid ones, and how many there are of something."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 50
"""A message lists no more words than this; of longer lists it names the nearest."""


def did_you_mean(word: object, valid: Iterable[str], n: int = 1) -> str:
    """The ``n`` valid words nearest to ``word``, upper and lower case alike, as a question; empty if none is near.

    >>> did_you_mean("Ratoi", ["method", "ratio"])
    "did you mean 'ratio'?"
    """
    by_lower = {known.lower(): known for known in valid}
    near = [repr(by_lower[found]) for found in get_close_matches(str(word).lower(), by_lower, n=n)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def choose_from(word: object, valid: Iterable[str]) -> str:
    """The nearest valid word, and all of them where they are few enough to be read.

    >>> choose_from("ratoi", ["ratio", "method"])
    "did you mean 'ratio'? (valid: method, ratio)"
    >>> choose_from("speed", ["ratio", "method"])
    'valid: method, ratio'
    >>> choose_from("ratio:0.1", ["ratio", "method"])
    'write a blank behind the colon: `ratio: 0.1`'
    """
    words = sorted(valid)
    if not words:
        return "nothing is valid here"
    key, colon, rest = str(word).partition(":")
    if colon and key in words:  # YAML takes it for one word
        return f"write a blank behind the colon: `{key}: {rest}`"
    if len(words) > _LISTED:
        first = f"valid: {', '.join(words[:_LISTED])}, ... ({len(words)} in all)"
        return did_you_mean(word, words, n=3) or first
    listed = "valid: " + ", ".join(words)
    question = did_you_mean(word, words)
    return f"{question} ({listed})" if question else listed


def how_many(number: int, noun: str) -> str:
    """A number with its noun in singular or plural.

    >>> how_many(1, "problem"), how_many(0, "problem"), how_many(2, "category")
    ('1 problem', '0 problems', '2 categories')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
