"""Tests train nets of a few thousand weights: one thread each, or threads that wait for each other take the time."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
