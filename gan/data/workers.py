"""Image decoding in worker processes, so that a crash in a decoder does not end the caller.

Workers import this module, gan.data.source and gan.data.decode; none of these imports torch.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any

import numpy as np

from gan.data.decode import decode_chunk
from gan.data.source import Source

_CHUNK = 256  # images
_MAX_PENDING = 8  # chunks, so that memory does not grow with the data set

Names = Sequence[Any]
Decoded = tuple[np.ndarray, dict[Any, str]]
Decode = Callable[[Names], Decoded]


def decode_all(source: Source, shape: tuple[int, int, int], fit: str) -> Iterator[Decoded]:
    """Yields the results of `decode_chunk` for all images of a source, in order."""
    decode = partial(decode_chunk, read=source.read, shape=shape, fit=fit)
    chunks = deque(source.names[i : i + _CHUNK] for i in range(0, len(source), _CHUNK))
    if not source.parallel:
        yield from map(decode, chunks)
        return
    while chunks:
        try:
            for decoded in _decode_in_workers(decode, list(chunks), _num_cores()):
                chunks.popleft()
                yield decoded
        except BrokenProcessPool:
            for name in chunks.popleft():  # the image that crashed the decoder may be among them
                yield _decode_alone(decode, name)


def _decode_alone(decode: Decode, name: Any) -> Decoded:
    try:
        [decoded] = _decode_in_workers(decode, [[name]], 1)
        return decoded
    except BrokenProcessPool:
        no_images, _ = decode([])
        return no_images, {name: "its decoder crashed"}


def _decode_in_workers(decode: Decode, chunks: list[Names], count: int) -> Iterator[Decoded]:
    # spawned, because a fork of a process with threads can deadlock
    with ProcessPoolExecutor(count, get_context("spawn"), _begin_worker) as workers:
        pending: deque[Future[Decoded]] = deque()
        for chunk in chunks:
            pending.append(_submit(workers, decode, chunk))
            if len(pending) == _MAX_PENDING:
                yield pending.popleft().result()
        for future in pending:
            yield future.result()


def _submit(workers: ProcessPoolExecutor, decode: Decode, names: Names) -> Future[Decoded]:
    with _deferred_sigint():  # this may start a worker
        return workers.submit(decode, names)


@contextmanager
def _deferred_sigint() -> Iterator[None]:
    """Defers Ctrl-C until a worker has been started.

    The worker inherits the blocked signal until _begin_worker has run. The parent needs a handler
    besides, because any other thread may receive the signal, and a worker that gets only a part of
    what it is to run prints a traceback.
    """
    arrived: list[tuple] = []
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()  # only it may set a handler
    if is_main:
        signal.signal(signal.SIGINT, lambda *args: arrived.append(args))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, handler)
    if arrived and callable(handler):
        handler(*arrived[0])


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends without a traceback; the parent reports
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    parent.join()  # a killed parent does not stop its workers, which would wait forever
    os._exit(1)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: only the cores that a batch system allots
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
