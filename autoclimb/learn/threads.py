"""Training on a processor shared with other work: the number of threads, and how much slower steps have become.

Threads that wait for one that lost its core to another process cost far more than they bring: with nine busy processes
on two cores resnet18 at 64 px trained at 1.4 pictures a second on two threads, at 18.4 on one (one run; LOG.md).
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import median

import torch

WINDOW = 0.5  # seconds of steps whose rates are compared, as the time of a single step varies too much
LONG_STEP = 2.0  # seconds of a step that makes a window by itself
COLLAPSED = 0.6  # of the best rate so far, or of the probe's, below which fewer threads are tried
BETTER = 1.1  # factor on the rate for a change to stay
SECOND, WINDOWS = 1.0, 5  # of Slowing: seconds of a window at least, and windows of a median
TRIED = 8  # pictures that a number of threads is settled with: what is compared is waiting, not work
LEAST_WAIT, LONGEST_WAIT = 5.0, 60.0  # seconds until a change that did not help is tried again
LOST = 0.02  # of the time that such tries may lose: one at four fifths of the rate is repeated after 5 s
SOON = 2.0  # windows after which the number is tried again that lost to another: a neighbour's spell may be over


class ThreadTuner:
    """Tries half or twice the threads for a window and keeps the faster number, back to all on a quiet machine.

    The usual rate comes from the probe; where it is unknown, a training begins with a window at half the threads.
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
        # threads, rate and seconds of the window with which the current one is compared
        self.before: tuple[int, float, float] | None = None
        self.fewer_paid = True  # whether fewer threads may help: not where they were tried last and did not
        self.not_until = now()
        self.warm = False  # the first steps, in which libraries initialise, do not count
        self.changed = False  # nor does the first one with another number of threads, for which kernels are built
        self.work, self.steps, self.start = 0.0, 0, now()
        set_threads(self.threads)

    def after_step(self, work: float) -> None:
        """Counts a step's work, in any unit; at the end of a window decides on the number of threads."""
        self.work, self.steps = self.work + work, self.steps + 1
        now = self.now()
        spent = now - self.start
        first, self.changed = self.changed, False
        if first and spent < LONG_STEP:
            self.work, self.steps, self.start = 0.0, 0, now
            return
        if spent < WINDOW or (self.steps < 2 and spent < LONG_STEP):
            return
        if self.warm:
            self._decide(self.work / spent, spent, now)
        self.warm = True
        self.work, self.steps, self.start = 0.0, 0, self.now()

    def _decide(self, rate: float, spent: float, now: float) -> None:
        first, self.best = not self.best, max(self.best, rate)
        if self.before is not None:
            threads, rate_before, spent_before = self.before
            self.before = None
            paid = rate > BETTER * rate_before
            fewer = self.threads < threads
            self.fewer_paid = paid == fewer
            lost = spent * max(1 - rate / rate_before, 0.0)
            wait = SOON * spent_before if paid else max(lost / LOST, LEAST_WAIT)
            self.not_until = now + min(wait, LONGEST_WAIT)
            if not paid:
                self._use(threads)
            elif fewer and self.threads > 1:
                self._try(self.threads // 2, rate, spent)
        elif first and self.threads > 1:
            self._try(self.threads // 2, rate, spent)
        elif now < self.not_until:
            return
        elif self.threads > 1 and rate < COLLAPSED * self.best and (self.fewer_paid or self.threads == self.most):
            self._try(self.threads // 2, rate, spent)
        elif self.threads < self.most:
            self._try(min(2 * self.threads, self.most), rate, spent)

    def _try(self, threads: int, rate: float, spent: float) -> None:
        self.before = self.threads, rate, spent
        self._use(threads)

    def _use(self, threads: int) -> None:
        self.threads, self.changed = threads, True
        self.set_threads(threads)


class Slowing:
    """Measures how many times slower the last steps of a training are than its first ones.

    It takes medians of windows of a second and more, so that a single step that waited does not count.
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
        """The factor by which steps are slower than the first ones, at least 1."""
        return max(1.0, median(self.first) / median(self.last)) if self.first else 1.0


def settle_threads(step: Callable[[], float], most: int) -> int:
    """The number of threads, set for torch, with which `step()` takes the fewest seconds: all, or halved repeatedly.

    Before there are fewer, the larger number is timed again: its first step may have met a neighbour's burst, and built
    kernels that the next one found.
    """

    def seconds_with(threads: int) -> float:
        torch.set_num_threads(threads)
        return step()

    threads, best = most, seconds_with(most)
    while threads > 1:
        seconds = seconds_with(threads // 2)
        if seconds * BETTER >= best or seconds * BETTER >= seconds_with(threads):
            break
        threads, best = threads // 2, seconds
    torch.set_num_threads(threads)
    return threads


def settle_again(work: Callable[[], object], most: int) -> None:
    """Settles the number of threads by `work()` where an earlier look or training, in a busier minute, left fewer."""
    if torch.get_num_threads() >= most:
        return

    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    settle_threads(seconds, most)
