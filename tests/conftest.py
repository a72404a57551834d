"""Tests train nets of a few thousand weights: one thread each, or threads that wait for each other take the time."""

import os

import pytest
from browser import chromium
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # other work on it makes an example slow
settings.load_profile("any machine")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, for tests of pages."""
    with chromium() as started:
        yield started
