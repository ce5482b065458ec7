"""The highest scores one by one: where precision is decided, neighbours are not to share a bin.

The best F1 is a maximum, not an area: what happens inside a bin does not average out. So more scores are kept for it
alone: it is exact while its threshold calls at most ``KEPT`` pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

TOP = 1 << 17
"""At most this many scores enter every metric one by one."""
KEPT = 1 << 19
"""At most this many are kept, for the best F1."""


class TopScores:
    """The ``KEPT`` highest of all scores seen, as integer keys that sort like them.

    Scores of one value are kept all or none, so that which are kept depends on the scores and never on their
    order: those from ``floor`` up, the least floor that keeps at most ``KEPT``.

    Attributes:
        floor: every score with a key of at least this is kept.
    """

    def __init__(self) -> None:
        self.floor = 0
        self._keys: list[np.ndarray] = []
        self._n = 0
        self._positives: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # keys, counts, weights

    def add(self, keys: np.ndarray, positive_keys: np.ndarray, weights: np.ndarray) -> None:
        """Take in scores.

        Args:
            keys: (n,) uint32.
            positive_keys: (p,) those of the positive ones.
            weights: (p,) int64 weights of those.
        """
        high = keys >= np.uint32(self.floor)
        if high.any():
            self._keep(keys if high.all() else keys[high])
        places = np.flatnonzero(positive_keys >= np.uint32(self.floor))
        if places.size:
            self._positives.append((positive_keys[places], np.ones(places.size, np.int64), weights[places]))
        if self._n > 2 * KEPT:
            self._trim()

    def are_many(self, n: int) -> bool:
        """Whether so many more scores are worth a look at the floor."""
        return n > KEPT // 16

    def raise_floor(self, first_keys: np.ndarray, totals: np.ndarray) -> bool:
        """Raise the floor as far as all scores that were seen, counted in bins, say that it will be.

        Args:
            first_keys: (n,) uint32, the least key of each bin, ascending.
            totals: (n,) int64, the scores in each.

        Returns:
            whether it rose.
        """
        from_above = np.cumsum(totals[::-1])
        too_many = int(np.searchsorted(from_above, KEPT, side="right"))
        if too_many == totals.size or first_keys[-1 - too_many] <= self.floor:
            return False
        self.floor = int(first_keys[-1 - too_many])
        return True

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take in what ``to_arrays`` of another returned."""
        self.floor = max(self.floor, int(arrays["top_floor"]))
        keys = arrays["top_keys"]
        self._keep(np.repeat(keys, arrays["top_totals"]))
        positive = np.flatnonzero(arrays["top_positives"])
        counts, weights = arrays["top_positives"][positive], arrays["top_weights"][positive]
        self._positives.append((keys[positive], counts, weights))
        self._trim()

    def merge(self, other: TopScores) -> None:
        """Take in what another has kept; that one stays as it is."""
        self.floor = max(self.floor, other.floor)
        self._keys += other._keys
        self._n += other._n
        self._positives += other._positives
        if self._n > 2 * KEPT:
            self._trim()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The scores kept, ascending: equal for equal sets of scores.

        Returns:
            ``top_keys`` (n,) uint32, each once; ``top_totals``, ``top_positives``, ``top_weights`` (n,) int64;
            ``top_floor`` () int64.
        """
        self._trim()
        every = np.sort(self._keys[0])
        heads = np.flatnonzero(np.diff(every, prepend=every[:1] + np.uint32(1)))
        keys = every[heads]
        positives, weights = np.zeros((2, keys.size), np.int64)
        if self._positives:
            positive_keys, counts, their_weights = (
                np.concatenate(c) for c in zip(*self._positives, strict=True)
            )
            order = np.argsort(positive_keys)  # looking up one after the other is many times faster
            places = np.searchsorted(keys, positive_keys[order])
            np.add.at(positives, places, counts[order])
            np.add.at(weights, places, their_weights[order])
        return {
            "top_keys": keys,
            "top_totals": np.diff(heads, append=every.size),
            "top_positives": positives,
            "top_weights": weights,
            "top_floor": np.array(self.floor),
        }

    def _keep(self, keys: np.ndarray) -> None:
        self._keys.append(keys)
        self._n += keys.size

    def _trim(self) -> None:
        """Raise the floor until at most ``KEPT`` are kept."""
        keys = np.concatenate(self._keys) if self._keys else np.empty(0, np.uint32)
        keys = keys[np.flatnonzero(keys >= np.uint32(self.floor))]
        if keys.size > KEPT:
            self.floor = int(np.partition(keys, keys.size - KEPT - 1)[-KEPT - 1]) + 1
            keys = keys[np.flatnonzero(keys >= np.uint32(self.floor))]
        self._keys, self._n = [keys], keys.size
        positives = (np.concatenate(column) for column in zip(*self._positives, strict=True))
        if self._positives:
            positive_keys, counts, weights = positives
            high = np.flatnonzero(positive_keys >= np.uint32(self.floor))
            self._positives = [(positive_keys[high], counts[high], weights[high])]


def highest_of(arrays: Mapping[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    """Of the arrays of ``TopScores.to_arrays`` the highest scores alone, and the least floor that keeps so few.

    Args:
        arrays: as ``to_arrays`` returned them; others beside them are passed over.
        most: how many.

    Returns:
        the same arrays, shorter.
    """
    from_above = np.cumsum(arrays["top_totals"][::-1])
    n = int(np.searchsorted(from_above, most, side="right"))
    first = from_above.size - n
    found = {
        name: arrays[name][first:] for name in ("top_keys", "top_totals", "top_positives", "top_weights")
    }
    floor = arrays["top_floor"] if first == 0 else np.array(int(arrays["top_keys"][first - 1]) + 1)
    return found | {"top_floor": floor}
