"""Names that are partition keys, folders and words of a command line at the same time."""

from __future__ import annotations

import unicodedata

_FORBIDDEN = '|,[]{}/\\:*?"<>'
_MAX_BYTES = 120


def name_fault(name: object) -> str | None:
    """Why ``name`` cannot name a dataset, category, detector or preset; None if it can.

    ``|``, ``,`` and brackets mean something to Dagster's partition keys, slashes and leading dots to paths,
    ``*`` and ``?`` to ``--category GLOB``, and the rest is forbidden in file names on some system.

    >>> name_fault("bottle") is None
    True
    >>> name_fault("a|b")
    "holds '|'"
    """
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, not text"
    bad = next((c for c in name if c in _FORBIDDEN or unicodedata.category(c).startswith("C")), None)
    faults = {
        "is empty": not name.strip(),
        "begins or ends with a space": name != name.strip(),
        "is kept for artifacts without a detector": name == "_",
        "begins with a dot or a dash": name.startswith((".", "-")),
        "ends with a dot": name.endswith("."),
        "holds '..'": ".." in name,
        f"holds {bad!r}": bad is not None,
        f"is longer than {_MAX_BYTES} bytes": len(name.encode(errors="replace")) > _MAX_BYTES,
    }
    return next((fault for fault, found in faults.items() if found), None)
