"""Owns the polite end of a run: a signal asks, the step finishes, the state is saved."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gan.machine.ranks import under_torchrun


class StopRequest:
    """Holds the signal that asked for the end; 0 while none did."""

    signum = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Takes note; the second signal ends the process at once.

        But not under torchrun, which passes on what Slurm has already sent to every process, and
        ends by itself those that take too long.
        """
        if self.signum and not under_torchrun():
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.signum = signum


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catches SIGINT and SIGTERM for as long as the block runs."""
    request = StopRequest()
    caught = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may catch signals
        return
    before = [signal.signal(signum, request) for signum in caught]
    try:
        yield request
    finally:
        for signum, handler in zip(caught, before, strict=True):
            signal.signal(signum, handler)
