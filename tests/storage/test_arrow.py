"""pyarrow without pandas."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from uad_orchestrator.storage.arrow import arrow_alone
pa = arrow_alone()
table = pa.Table.from_pylist([{"name": "a", "values": [1.0, 2.0]}, {"name": "b", "values": None}])
assert table.num_rows == 2 and arrow_alone() is pa
print("pandas" in sys.modules)
frame = table.to_pandas()
print(type(frame).__module__.split(".")[0], len(frame), "pandas" in sys.modules)
"""


def test_pandas_is_not_imported_until_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "pandas", "2", "True"]
