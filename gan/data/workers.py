"""Owns decoding in worker processes: none of its ways to fail takes the packer with it."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

import numpy as np

from gan.config.settings import DataConfig
from gan.data.decode import decode_chunk
from gan.data.source import Source

_CHUNK = 256
Decoded = tuple[range, np.ndarray, dict[int, str]]


def decode_all(source: Source, cfg: DataConfig) -> Iterator[Decoded]:
    """Yields (indices, images, reasons by index of the bad ones) in order of the source."""
    chunks = [range(i, min(i + _CHUNK, len(source))) for i in range(0, len(source), _CHUNK)]
    how = (cfg.image_shape, cfg.fit)
    if not source.parallel:
        for chunk in chunks:
            yield chunk, *decode_chunk(source.read, chunk, *how)
        return
    while chunks:
        try:
            for result in _decode_in_workers(source, chunks, how):
                yield result
                chunks = chunks[1:]
        except BrokenProcessPool:
            # one of these images kills its decoder: each gets a process of its own
            for index in chunks[0]:
                yield _decode_alone(source, index, how)
            chunks = chunks[1:]


def _decode_in_workers(source: Source, chunks: list[range], how: tuple) -> Iterator[Decoded]:
    with _workers(source, _num_cores()) as workers:
        pending: deque[tuple[range, Future]] = deque()
        waiting = iter(chunks)
        while True:
            # a bounded queue: memory does not grow with the data set
            while len(pending) < 8 and (chunk := next(waiting, None)):
                pending.append((chunk, _submit(workers, chunk, how)))
            if not pending:
                return
            chunk, future = pending.popleft()
            yield chunk, *future.result()


def _decode_alone(source: Source, index: int, how: tuple) -> Decoded:
    chunk = range(index, index + 1)
    with _workers(source, 1) as workers:
        try:
            return chunk, *_submit(workers, chunk, how).result()
        except BrokenProcessPool:
            return chunk, np.empty((0, *how[0]), np.uint8), {index: "its decoder crashed"}


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: those that a batch system has given us
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _workers(source: Source, count: int) -> ProcessPoolExecutor:
    # spawned, not forked: the parent has threads, and a child needs no torch
    return ProcessPoolExecutor(count, get_context("spawn"), _begin_worker, (source.read,))


def _submit(workers: ProcessPoolExecutor, chunk: range, how: tuple) -> Future:
    # starts a worker when none is idle; it inherits that Ctrl-C is held back until it has begun
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return workers.submit(_decode, chunk, *how)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_reader: Callable[[int], Any]


def _begin_worker(read: Callable[[int], Any]) -> None:
    global _reader
    _reader = read
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends at once and leaves the word to its parent
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    parent.join()  # a killed one tells nobody, and its workers would wait for work for ever
    os._exit(1)


def _decode(chunk: range, shape: tuple, fit: str) -> tuple[np.ndarray, dict[int, str]]:
    return decode_chunk(_reader, chunk, shape, fit)
