"""The batches of a read."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from . import _native
from ._progress import Shown
from ._report import Report

if TYPE_CHECKING:
    from ._native import RecordBatch, Schema

T = TypeVar("T")


class Stream:
    """The batches of one table, query or slice, which are read once.

    Anything that takes `__arrow_c_stream__` reads it as a whole: `pyarrow.table(s)`, `polars.DataFrame(s)`,
    `pandas.DataFrame.from_arrow(s)` (pandas from 3 on), `nanoarrow.ArrayStream(s)`, `duckdb.sql("from s")`.
    Or iterate: each batch has `__arrow_c_array__`, `num_rows` and `schema`. `async for` works as well.

    Reading goes on in threads of its own, at most two batches ahead for each reader: who does not read stops
    the server from sending. A stream that is closed, or dropped, before its end cancels the COPY on the
    server. The table was read as a whole only if the end was reached without an exception.
    """

    def __init__(self, native: _native.Stream, shown: Shown | None = None) -> None:
        self._native = native
        self._shown = shown
        self._report: Report | None = None

    @property
    def schema(self) -> Schema:
        """The schema of all batches, for whatever takes `__arrow_c_schema__`: `pyarrow.schema(s.schema)`."""
        return self._native.schema

    @property
    def warnings(self) -> list[str]:
        """What one should know of the plan, for example of types that are read as text."""
        return self._native.warnings

    @property
    def progress(self) -> dict[str, Any]:
        """How far it is: `rows`, `rows_expected` (an estimate, or None), `wire_bytes`, `batches`, `slices`,
        `slices_total`, `memory_bytes`."""
        return self._native.progress

    @property
    def report(self) -> Report | None:
        """Rows, warnings, times, and what policies did to values; None until the last batch was read."""
        if self._report is None and (text := self._native.report_json) is not None:
            self._report = Report.of_json(text)
        return self._report

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Gives the stream to another reader, once. A schema that is asked for is only a wish: it is not
        met."""
        return self._native.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """The schema, by Arrow's C interface."""
        return self._native.__arrow_c_schema__()

    def __iter__(self) -> Iterator[RecordBatch]:
        return self

    def __next__(self) -> RecordBatch:
        try:
            return next(self._native)
        except StopIteration:
            self._end_progress()
            raise
        except BaseException:
            # That is the reason: nothing else may fail in its place.
            self._drop_progress()
            raise

    def __aiter__(self) -> AsyncIterator[RecordBatch]:
        return self

    async def __anext__(self) -> RecordBatch:
        batch = await polled(self._native.poll_next, lambda answer: answer[0])
        if batch[1] is None:
            self._end_progress()
            raise StopAsyncIteration
        return batch[1]

    def cancel(self) -> None:
        """Stops the reading, from any thread. Who reads gets `Cancelled`."""
        self._native.cancel()

    def close(self) -> None:
        """Stops the reading, if it has not ended. The server's process ends soon after."""
        self._native.close()
        self._end_progress()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pgarrow_engine.Stream, {self.progress['rows']:,} rows read>"

    def __reduce__(self) -> Any:
        return self._native.__reduce__()

    def _end_progress(self) -> None:
        shown, self._shown = self._shown, None
        if shown is not None:
            shown.tell(self.progress)
            shown.close(complete=self._native.report_json is not None)

    def _drop_progress(self) -> None:
        shown, self._shown = self._shown, None
        if shown is not None:
            shown.drop()

    def _tell(self) -> None:
        if self._native.report_json is not None:
            self._end_progress()
        elif self._shown is not None:
            self._shown.tell(self.progress)


def opened(make: Callable[[Callable[[], None] | None], _native.Stream], shown: Shown | None) -> Stream:
    """A stream that shows how far it is."""
    if shown is None:
        return Stream(make(None))
    streams: list[weakref.ref[Stream]] = []

    def tell() -> None:
        # The native stream holds this function, which the garbage collector does not see. So it must hold
        # neither the stream nor the callback, which may hold the stream.
        stream = streams[0]() if streams else None
        if stream is not None:
            stream._tell()

    stream = Stream(make(tell), shown)
    streams.append(weakref.ref(stream))
    return stream


async def polled(poll: Callable[[_native.Wake], T], is_answer: Callable[[T], bool]) -> T:
    """Waits for an answer without a thread: a file descriptor becomes readable when it is time to ask
    again."""
    loop = asyncio.get_running_loop()
    wake = _native.Wake()
    while not is_answer(answer := poll(wake)):
        moved: asyncio.Future[None] = loop.create_future()
        loop.add_reader(wake.fileno(), _resolve, moved)
        try:
            await moved
        finally:
            loop.remove_reader(wake.fileno())
        wake.clear()
    return answer


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
