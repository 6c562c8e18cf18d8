"""How far a read, an export or a load is: a callback, or a bar."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

#: What callbacks get: the fields of `--progress json`, `rows`, `rows_expected`, `wire_bytes`, `seconds`, …
Sample: TypeAlias = "dict[str, Any]"
#: `True` draws a bar; a callback gets samples, about five a second.
Progress: TypeAlias = "bool | Callable[[Sample], object] | None"

_INTERVAL = 0.2


class Shown:
    """Hands samples to a callback or a bar, now and then. Ends by `close`."""

    def __init__(self, progress: Callable[[Sample], object] | None, bar: Bar | None) -> None:
        self._progress = progress
        self._bar = bar
        self._told = 0.0
        self._last: Sample | None = None

    def look(self, text: str | None) -> None:
        """Takes an object of JSON, or None where there is no progress yet."""
        if text is not None:
            self.tell(json.loads(text))

    def tell(self, sample: Sample, *, always: bool = False) -> None:
        """Takes a sample."""
        self._last = sample
        now = time.monotonic()
        if not always and now - self._told < _INTERVAL:
            return
        self._told = now
        if self._progress is not None:
            self._progress(sample)
        if self._bar is not None:
            self._bar.show(sample)

    def close(self, *, complete: bool = False) -> None:
        """Shows the last sample, and ends the bar. If it is complete, the estimate was wrong, not the bar."""
        if self._last is not None:
            self.tell(self._last, always=True)
        if self._bar is not None:
            self._bar.close(complete=complete)

    def drop(self) -> None:
        """Ends the bar, and shows nothing any more: the call has failed."""
        if self._bar is not None:
            self._bar.close(complete=False)


def shown(progress: Progress) -> Shown | None:
    """What a call's argument `progress` asks for."""
    if progress is None or progress is False:
        return None
    if progress is True:
        return Shown(None, Bar())
    if not callable(progress):
        raise TypeError(f"progress: write True, False or a function, not {type(progress).__name__}")
    return Shown(progress, None)


class Bar:
    """A bar: tqdm's, which notebooks show as well, or else a line on stderr."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self._bar = None
        else:
            self._bar = tqdm(unit=" rows", unit_scale=True, dynamic_ncols=True)

    def show(self, sample: Sample) -> None:
        """Draws a sample."""
        rows, expected = int(sample.get("rows") or 0), sample.get("rows_expected")
        if self._bar is not None:
            if expected is not None and self._bar.total is None:
                # Notebooks draw a bar with an end only after this.
                self._bar.reset(total=max(int(expected), rows))
            elif expected is not None:
                # An estimate that is passed grows.
                self._bar.total = max(int(expected), rows)
            self._bar.update(rows - self._bar.n)
            return
        if not sys.stderr.isatty():
            return
        share = f" of about {expected:,}" if expected and expected >= rows else ""
        sys.stderr.write(f"\r{rows:,} rows{share}, {int(sample.get('wire_bytes') or 0) / 1e6:,.1f} MB\x1b[K")
        sys.stderr.flush()

    def close(self, *, complete: bool) -> None:
        """Ends it."""
        if self._bar is not None:
            if complete:
                self._bar.total = self._bar.n
            self._bar.close()
        elif sys.stderr.isatty():
            sys.stderr.write("\n")
