"""The processors that this process may use: their number, and their name."""

import math
import os
import platform
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def allowed_cores(cgroup: Path = CGROUP) -> int:
    """Processors that this process may keep busy, at least one: the lower of its affinity and its cgroup's quota.

    In a container of 2 processors on a machine of 64 the affinity is 64; the quota would stop 64 threads most of the
    time.
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


def processor_name() -> str:
    """The model of the machine's processors, as they name it; their architecture where they do not."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Threads to compute with: one for each allowed core, at most OMP_NUM_THREADS."""
    cores = allowed_cores(cgroup)
    with suppress(ValueError):
        cores = min(cores, int(os.environ.get("OMP_NUM_THREADS", cores)))
    return max(1, cores)
