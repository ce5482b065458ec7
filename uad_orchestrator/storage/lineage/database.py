"""The DuckDB file of the lineage index: opened for a moment, by one process at a time, its faults told apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uad_orchestrator.storage.lineage.schema import SCHEMA_VERSION


class LineageError(RuntimeError):
    """The index cannot be used just now; the message says who holds it, or how to restore it."""


class LineageHeldError(LineageError):
    """Another process has the index open, or this one in another mode."""


class LineageDatabase:
    """The file.

    Args:
        path: where it lies, or will lie.
        locks: the folder of the lock by which processes take turns.
        patience: how many seconds readers wait for a file another process holds.
    """

    def __init__(self, path: Path, locks: Path, patience: float) -> None:
        self.path = path
        self.locks = locks
        self.patience = patience

    @contextmanager
    def turn(self, wait: float) -> Iterator[bool]:
        """One process of ours has the file at a time; False when our turn does not come within ``wait`` seconds."""
        from filelock import FileLock, Timeout

        self.locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.locks / "fold.lock")
        try:
            lock.acquire(timeout=wait)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def open(self, *, read_only: bool = False, aside: Path | None = None) -> Any:
        """A connection.

        Args:
            read_only: beside other readers.
            aside: another file that will take its place.

        Raises:
            LineageHeldError: another process has it.
            LineageError: it is damaged.
        """
        import duckdb

        path = aside or self.path
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.Error as error:
            # DuckDB has no class for it: the lock is another process's, or ours in another mode.
            if "Could not set lock" in str(error) or "different configuration" in str(error):
                raise LineageHeldError(
                    f"{path} is open elsewhere: close it there, try again ({error})"
                ) from error
            raise self.damaged(error) from error

    def open_patiently(self) -> Any:
        """A connection to read; tried again, at random moments, while another process holds the file."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

        attempts = Retrying(
            retry=retry_if_exception_type(LineageHeldError),
            wait=wait_random(0.01, 0.25),
            stop=stop_after_delay(self.patience),
            reraise=True,
        )
        return attempts(self.open, read_only=True)

    def require_schema(self, connection: Any) -> None:
        """Refuse an index whose tables are of another version of the program.

        Raises:
            LineageError: they are.
        """
        ((version,),) = connection.execute("SELECT version FROM schema_version").fetchall()
        if version != SCHEMA_VERSION:
            raise LineageError(
                f"{self.path} has schema {version}, this program {SCHEMA_VERSION}: run `uad lineage rebuild`"
            )

    def is_damage(self, error: Exception) -> bool:
        """Whether a query failed for the file, not for what was asked: DuckDB has no class for that."""
        return "Corrupt database" in str(error) or str(self.path) in str(error)

    def damaged(self, error: Exception) -> LineageError:
        """The same in words."""
        return LineageError(
            f"{self.path} cannot be read: run `uad lineage rebuild` to make it anew ({error})"
        )


def reads_scores(connection: Any) -> bool:
    """Whether the view over the Parquet files is there: making it opens each of them, so it is made once."""
    return "read_parquet" in view_text(connection, "scores")


def view_text(connection: Any, name: str) -> str:
    """The SQL of a view; empty where there is none."""
    found = connection.execute("SELECT sql FROM duckdb_views() WHERE view_name = ?", [name]).fetchall()
    return "".join(sql for (sql,) in found)
