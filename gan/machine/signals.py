"""Graceful shutdown: a signal sets a flag, the step finishes and the state is saved."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from torch.distributed import is_torchelastic_launched


class StopRequest:
    """Holds the signal that asked the run to stop; 0 if there was none."""

    signum = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Records the signal and answers; Ctrl-C after another signal ends the process at once.

        Others may come twice: a terminal that is closed and its shell both send SIGHUP. Under
        torchrun Ctrl-C does too: Slurm signals every process and torchrun forwards the signal.
        torchrun kills processes that take too long.
        """
        if self.signum and signum == signal.SIGINT and not is_torchelastic_launched():
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        is_first, self.signum = not self.signum, signum
        if is_first and not is_torchelastic_launched():
            _answer("finishing this step, then saving; interrupt again to quit without saving")


def _answer(text: str) -> None:
    """Writes a line past Python's buffers, which the signal may have interrupted in a write."""
    with suppress(OSError):  # the console may be closed
        console = sys.stderr.fileno()
        clear = "\r\x1b[K" if os.isatty(console) else ""  # the status line
        os.write(console, f"{clear}{text}\n".encode())


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catches SIGINT, SIGTERM and SIGHUP inside the block; an ignored SIGHUP stays ignored."""
    request = StopRequest()
    caught = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        caught.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set signal handlers
        return
    before = [signal.signal(signum, request) for signum in caught]
    try:
        yield request
    finally:
        for signum, handler in zip(caught, before, strict=True):
            signal.signal(signum, handler)
