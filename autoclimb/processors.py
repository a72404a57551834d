"""How many processors there are to use."""

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def allowed_cores(cgroup: Path = CGROUP) -> int:
    """Processors that this process may keep busy: its affinity, and its control group's quota; one at least.

    In a container of 2 processors on a machine of 64 the affinity is 64; 64 threads would be stopped most of the time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = math.inf
    with suppress(OSError, ValueError):  # version 2: "max 100000", or "200000 100000"
        allowed, period = (cgroup / "cpu.max").read_text().split()
        quota = float(allowed) / float(period)
    with suppress(OSError, ValueError):  # version 1: -1 for no quota
        allowed_us = float((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = float((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
        quota = min(quota, allowed_us / period_us if allowed_us > 0 else math.inf)
    return max(1, math.floor(min(quota, cores)))


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Threads that computing may use: a core each of those allowed, no more than OMP_NUM_THREADS."""
    cores = allowed_cores(cgroup)
    with suppress(ValueError):
        cores = min(cores, int(os.environ.get("OMP_NUM_THREADS", cores)))
    return max(1, cores)
