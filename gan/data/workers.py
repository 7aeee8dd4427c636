"""Image decoding in worker processes, so that a crash in a decoder does not end the caller.

Workers import this module, gan.data.source and gan.data.decode; none of these imports torch.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from gan.data.decode import BadImage, Decoded, ReadFailed, decode_image
from gan.data.source import Source

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}

Decode = Callable[[Any], Decoded]


def decode_all(source: Source, shape: tuple[int, int, int], fit: str) -> Iterator[Decoded]:
    """Yields the results of `decode_image` for all images of a source, in order."""
    decode = partial(decode_image, read=source.read, shape=shape, fit=fit)
    if not source.parallel:
        yield from map(decode, source.names)
        return
    # on Linux only the cores that a batch system allots
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = min(cores or 1, len(source))
    with ExitStack() as stack:
        workers = [_decode_in_process(decode, source.names[k::count]) for k in range(count)]
        for worker in workers:
            next(stack.enter_context(closing(worker)))
        for k in range(len(source)):
            yield next(workers[k % count])


def _decode_in_process(
    decode: Decode, names: Sequence[Any]
) -> Generator[Any, None, None]:  # of None when the process has been started, then of Decoded
    """Decodes images in another process; if one of them crashes it, a new process continues."""
    num_done = 0
    while num_done < len(names):
        pipe, end = Pipe()
        folders = [folder for folder in sys.path if isinstance(folder, str)]  # no Path, as import
        code = f"import sys; sys.path = {folders}; from gan.data.workers import serve"
        # not multiprocessing.Process, which runs the caller's script once more in the new process
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"{code}; serve({end.fileno()})"],
            pass_fds=[end.fileno()],
            process_group=0,  # Ctrl-C reaches only the caller, which stops the process
        )
        end.close()
        try:
            if not num_done:
                yield None
            pipe.send((decode, names[num_done:]))
            while num_done < len(names):
                decoded = pipe.recv()
                num_done += 1
                yield decoded
        except (EOFError, OSError):
            num_done += 1
            yield _reason(process.wait())
        finally:
            process.kill()
            process.wait()


def _reason(code: int) -> BadImage:
    """Returns what is wrong with an image during which a process ended with this exit code."""
    if code >= 0:
        raise ValueError(f"a process that decodes images failed with exit code {code}")
    if -code in _CRASHES:
        return BadImage("its decoder crashed")
    return ReadFailed(f"its decoder was killed by signal {-code}; the memory may be full")


def serve(fileno: int) -> None:
    """Decodes the images that the caller of this process has listed."""
    with Connection(fileno) as pipe, suppress(EOFError, ConnectionError):  # the caller has ended
        decode, names = pipe.recv()
        for name in names:
            pipe.send(decode(name))
