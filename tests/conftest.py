"""How tests run: with how many threads, where they write, in which order, and how hypothesis searches."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.dagster_databases import prepared_once

# The linear algebra of small images is done before a team of threads has met, and the workers of a run share the cores.
# Set before numpy and torch are loaded, and for the processes that tests start. Our own threads are left as they are.
for library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Dagster's SQLite waits for the disk at every event, a third of the time that a refresh takes. No test switches the
# machine off, so where there is room they write into memory.
MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# A busy machine is no fault of an example, so nothing depends on the clock. Each run searches among other examples;
# the blob that a failing test prints brings its example back on any machine.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    """Workers take the files in the order of collection (unless told otherwise, those with many tests come first)."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts processes takes longest and comes first: a long file at the end would leave one worker alone."""
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)


def pytest_collection_finish() -> None:
    """What is imported by now stays: to go through it at every collection of garbage takes a quarter of a refresh."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """At the end it is garbage after all, and extensions that are not tidied up complain."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def dagsters_databases() -> Iterator[None]:
    """Opened with less preparation, where a test that was collected uses Dagster."""
    if "dagster" not in sys.modules:
        yield
    else:
        with prepared_once():
            yield
