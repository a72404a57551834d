"""A processor that other work shares: how many threads train there, and how much slower steps have become.

Threads that wait for one that lost its core to a neighbour cost far more than they bring: with nine busy processes on
two cores resnet18 at 64 px trained at 1.4 pictures a second on two threads, at 18.4 on one (one run; LOG.md).
"""

from collections import deque
from collections.abc import Callable
from statistics import median

import torch

WINDOW = 0.5  # seconds of steps that are compared; a step's own time varies too much
LONG_STEP = 2.0  # a window of one step will do where it takes so long
COLLAPSED = 0.6  # of the best rate so far, or of the probe's: under it fewer threads are tried
BETTER = 1.1  # times as fast for a change to stay
SECOND, WINDOWS = 1.0, 5  # of steps whose rate is taken together, at least; such windows that a median is taken over
FIRST_WAIT, LONGEST_WAIT = 5.0, 60.0  # seconds until a change that did not pay is tried again; doubled each time


class ThreadTuner:
    """Tries half or twice the threads for a window and keeps what is faster; back to all when the machine is quiet.

    What is usual says the probe; where it is not known, a training begins with a window at half the threads.
    """

    def __init__(
        self,
        most: int,
        now: Callable[[], float],
        set_threads: Callable[[int], None] = torch.set_num_threads,
        threads: int = 0,  # to begin with, 0 for all
        usual: float = 0.0,  # work a second by the probe, 0 where it is not known
    ) -> None:
        self.most, self.threads, self.now, self.set_threads = most, min(threads or most, most), now, set_threads
        self.best = usual  # rate of the best window so far
        self.before: tuple[int, float] | None = None  # threads and rate that the window under way is compared with
        self.fewer_paid = True  # whether fewer threads than now may pay: not where they were tried last and did not
        self.wait, self.not_until = FIRST_WAIT, now()
        self.warm = False  # a net's first steps, which libraries get ready for, say nothing
        self.work, self.steps, self.start = 0.0, 0, now()
        set_threads(self.threads)

    def after_step(self, work: float) -> None:
        """Counts a step's work, in any unit; at the end of a window decides how many threads go on."""
        self.work, self.steps = self.work + work, self.steps + 1
        now = self.now()
        spent = now - self.start
        if spent < WINDOW or (self.steps < 2 and spent < LONG_STEP):
            return
        if self.warm:
            self._decide(self.work / spent, now)
        self.warm = True
        self.work, self.steps, self.start = 0.0, 0, self.now()

    def _decide(self, rate: float, now: float) -> None:
        first, self.best = not self.best, max(self.best, rate)
        if self.before is not None:
            threads, rate_before = self.before
            self.before = None
            paid = rate > BETTER * rate_before
            fewer = self.threads < threads
            self.fewer_paid = paid == fewer
            self.wait = FIRST_WAIT if paid else min(2 * self.wait, LONGEST_WAIT)
            self.not_until = now + self.wait
            if not paid:
                self._use(threads)
            elif fewer and self.threads > 1:
                self._try(self.threads // 2, rate)
        elif first and self.threads > 1:
            self._try(self.threads // 2, rate)
        elif now < self.not_until:
            return
        elif self.threads > 1 and rate < COLLAPSED * self.best and (self.fewer_paid or self.threads == self.most):
            self._try(self.threads // 2, rate)
        elif self.threads < self.most:
            self._try(min(2 * self.threads, self.most), rate)

    def _try(self, threads: int, rate: float) -> None:
        self.before = self.threads, rate
        self._use(threads)

    def _use(self, threads: int) -> None:
        self.threads = threads
        self.set_threads(threads)


class Slowing:
    """How many times slower the last steps of a training are than its first ones.

    By medians of windows of a second and more, so that one step that waited long says nothing.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.work, self.start = now, 0.0, now()
        self.first: list[float] = []  # rates of work, in any unit a second
        self.last: deque[float] = deque(maxlen=WINDOWS)

    def after_step(self, work: float) -> None:
        """Counts a step's work."""
        now, self.work = self.now(), self.work + work
        if (spent := now - self.start) < SECOND:
            return
        rate = self.work / spent
        self.work, self.start = 0.0, now
        self.last.append(rate)
        if len(self.first) < WINDOWS:
            self.first.append(rate)

    def times(self) -> float:
        """1 while steps are as fast as the first ones, or faster."""
        return max(1.0, median(self.first) / median(self.last)) if self.first else 1.0


def settle_threads(step: Callable[[], float], most: int) -> int:
    """The threads that `step`, which returns its seconds, is quickest with: all, or half as often as that pays."""
    threads = most
    torch.set_num_threads(threads)
    best = step()
    while threads > 1:
        torch.set_num_threads(threads // 2)
        seconds = step()
        if seconds * BETTER >= best:
            break
        threads, best = threads // 2, seconds
    torch.set_num_threads(threads)
    return threads
