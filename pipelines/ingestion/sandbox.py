"""Reading in a process of its own: a parser that crashes on a hostile file ends that process and nothing else.

The child has no credentials, no environment and bounded memory. It takes requests on its standard input, gives good
rows as an Arrow stream on a pipe while it is still reading, writes staged and rejected rows as Parquet, and answers
with what became of each file. It ends when its parent does.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import pickle
import queue
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from data_quality.contract import Contract
from pipelines.ingestion.model import FileRefused, Limits

_LENGTH = struct.Struct(">I")


class ReaderCrashed(FileRefused):
    """The reading process did not survive a file, or was ended because it took too long."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "processing")


@dataclass(frozen=True)
class Request:
    """A group of files to clean.

    Attributes:
        files: Local paths of the files as they came.
        contract: Their contract.
        work: An empty folder for what reading needs.
        staged: Where good rows are written as Parquet; with a column `_part` if there are several files.
        rejects: Where rejected rows are written, if there are any.
        limits: How much may be taken.
        ordered: Whether each table of good rows is to be sorted by key.
    """

    files: tuple[Path, ...]
    contract: Contract
    work: Path
    staged: Path
    rejects: Path
    limits: Limits
    ordered: bool = True


class Reading:
    """A request under way: first `tables`, to their end, then `results`."""

    def __init__(self, reader: Reader, stream: Any) -> None:
        self._reader, self._stream = reader, stream
        self.schema = stream.schema

    def tables(self) -> Iterator[Any]:
        """Yield Arrow tables of good rows.

        Raises:
            ReaderCrashed: the reading process is no more.
        """
        import pyarrow as pa

        try:
            for batch in self._stream:
                yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise self._reader.crashed() from error

    def results(self) -> list[dict[str, Any]]:
        """Return what became of each file, as the fields of `processing.Cleaned`.

        Raises:
            ReaderCrashed: the reading process is no more.
        """
        for _ in self.tables():
            pass
        return self._reader.answer()


class Reader:
    """The reading process of this thread: started when it is first needed, and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._rows: IO[bytes] | None = None
        self._reason: str | None = None
        self._owner = os.getpid()

    def warm_up(self, limits: Limits) -> None:
        """Start the process, which takes half a second, while there is something else to wait for."""
        self._started(limits)

    @contextmanager
    def read(self, request: Request) -> Iterator[Reading]:
        """Clean a group of files. What is left unread when the block ends is thrown away, with the process.

        Raises:
            ReaderCrashed: the reading process did not survive the files.
        """
        import pyarrow as pa

        process = self._started(request.limits)
        timer = threading.Timer(request.limits.seconds, self._expire, [request.limits.seconds])
        timer.daemon = True
        timer.start()
        done = False
        try:
            body = pickle.dumps(request)
            try:
                stdin = process.stdin
                if stdin is None:
                    raise AssertionError("the reading process has no input")
                stdin.write(_LENGTH.pack(len(body)) + body)
                stdin.flush()
                stream = pa.ipc.open_stream(self._rows)
            except (OSError, pa.ArrowInvalid) as error:
                raise self.crashed() from error
            reading = Reading(self, stream)
            yield reading
            done = self._idle
        finally:
            timer.cancel()
            if not done:
                self.stop()

    def answer(self) -> list[dict[str, Any]]:
        """Return the child's answer to the request under way."""
        line = self._process.stdout.readline() if self._process and self._process.stdout else b""
        if not line:
            raise self.crashed()
        self._idle = True
        answer = json.loads(line)
        if "error" in answer:
            raise FileRefused(answer["error"], "processing")
        return list(answer["results"])

    def crashed(self) -> ReaderCrashed:
        """Return the error that says how the process ended."""
        reason = self._reason
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            code = self._process.returncode
            if reason is None and code is not None and code < 0:
                reason = f"the reader crashed on it (signal {signal.Signals(-code).name})"
        return ReaderCrashed(reason or "the reader ended before it had read it")

    def stop(self) -> None:
        """End the process; the next request starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (self._rows, process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        process.kill()
        process.wait()

    def _expire(self, seconds: float) -> None:
        self._reason = f"took longer to read than the {seconds:g} seconds it may"
        if self._process is not None:
            self._process.kill()

    def _started(self, limits: Limits) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a fork's parent goes on using its own
            self._process, self._owner = None, os.getpid()
        self._reason, self._idle = None, False
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        reading, writing = os.pipe()
        command = [sys.executable, "-I", "-m", __name__, str(writing), str(limits.memory)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[writing], env={}, cwd="/"
            )
        finally:
            os.close(writing)
        self._rows = os.fdopen(reading, "rb")
        return self._process


_readers = threading.local()


def reader() -> Reader:
    """Return this thread's reader."""
    if not hasattr(_readers, "reader"):
        _readers.reader = Reader()
    found: Reader = _readers.reader
    return found


# --- the child -------------------------------------------------------------------------------------------------


class _Output:
    """Good rows on their way out: to the parent and, by a thread of their own, to Parquet."""

    def __init__(self, request: Request, rows: IO[bytes]) -> None:
        self.request, self.rows = request, rows
        self.several = len(request.files) > 1
        self.stream: Any = None
        self.failure: BaseException | None = None
        self.queue: queue.Queue[Any] = queue.Queue(2)
        self.writer = threading.Thread(target=self._write_parquet, daemon=True)
        self.writer.start()

    def begin(self, contract: Contract) -> Callable[[Any], None]:
        """Tell the parent the columns, long before the first row, and return what takes the rows."""
        import pyarrow as pa

        empty = self._fitted(_no_rows(contract))
        self.stream = pa.ipc.new_stream(self.rows, empty.schema)
        # The schema goes out with the first batch, so there is one of no rows.
        self.stream.write_batch(pa.record_batch([pa.nulls(0, field.type) for field in empty.schema], empty.schema))
        self.rows.flush()
        self.queue.put(empty)
        return self.take

    def take(self, table: Any) -> None:
        """Take a table of good rows."""
        table = self._fitted(table)
        self.queue.put(table)
        self.stream.write_table(table)

    def _fitted(self, table: Any) -> Any:
        return table if self.several else table.drop_columns(["_part"])

    def close(self) -> None:
        """End the stream and the Parquet, whatever was written."""
        if self.stream is None:
            self.begin(self.request.contract)
        self.stream.close()
        self.rows.flush()
        self.queue.put(None)
        self.writer.join()
        if self.failure:
            raise self.failure

    def _write_parquet(self) -> None:
        import pyarrow.parquet as pq

        writer = None
        try:
            while (table := self.queue.get()) is not None:
                # Dictionaries made the file larger and took a third longer here.
                writer = writer or pq.ParquetWriter(
                    self.request.staged, table.schema, compression="zstd", compression_level=1, use_dictionary=False
                )
                writer.write_table(table)
            if writer:
                writer.close()
        except BaseException as error:
            self.failure = error
            while self.queue.get() is not None:
                pass


def _no_rows(contract: Contract) -> Any:
    from pipelines.ingestion.cleaning import RESCUED
    from pipelines.ingestion.columns import duckdb_type, quoted
    from pipelines.ingestion.engine import engine

    columns = [f"NULL::{duckdb_type(column)} AS {quoted(column.column)}" for column in contract.columns]
    columns += [f"NULL::VARCHAR AS {RESCUED}", "NULL::INTEGER AS _part"]
    with engine() as connection:
        return connection.sql(f"SELECT {', '.join(columns)} WHERE false").to_arrow_table()


def _answer(request: Request, rows: IO[bytes]) -> dict[str, Any]:
    from pipelines.ingestion.processing import process

    output = _Output(request, rows)
    answer: dict[str, Any] = {}
    try:
        files = list(request.files)
        paths = (request.work, request.rejects)
        results = process(files, request.contract, *paths, output.begin, request.limits, ordered=request.ordered)
        answer = {"results": [asdict(result) | {"rows_deduplicated": result.rows_deduplicated} for result in results]}
    except MemoryError:
        answer = {"error": "needs more memory than a reader may use"}
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # whatever a hostile file provokes is the file's failure
        text = str(error).strip().splitlines()
        answer = {"error": f"{type(error).__name__}: {text[0][:500] if text else ''}"}
    output.close()
    return answer


def _end_with_parent() -> None:
    poll = select.poll()
    poll.register(0, select.POLLHUP)
    poll.poll()
    os._exit(1)


class _WithoutPandas(importlib.abc.MetaPathFinder):
    """Keeps Arrow from importing pandas where it finds it: a quarter of a second and 60 MB that nothing here needs."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Say that there is no pandas, and leave other modules to the finders behind this one."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main(rows_fd: int, memory: int) -> None:
    """Answer requests until the parent is gone."""
    sys.meta_path.insert(0, _WithoutPandas())
    # What reading needs is imported before it is asked for, while the files are still on their way.
    import pyarrow.parquet  # noqa: F401
    import sqlglot

    from pipelines.ingestion import processing  # noqa: F401
    from pipelines.ingestion.engine import engine

    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rows, requests = os.fdopen(rows_fd, "wb"), sys.stdin.buffer
    engine().close()
    sqlglot.Dialect.get_or_raise("duckdb")
    while head := requests.read(_LENGTH.size):
        request: Request = pickle.loads(requests.read(_LENGTH.unpack(head)[0]))  # noqa: S301  from the parent
        answer = _answer(request, rows)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
