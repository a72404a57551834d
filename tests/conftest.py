"""Tests train nets of a few thousand weights: one thread each, or threads that wait for each other take the time."""

import gc
import importlib
import os
import sys
from collections import Counter
from pathlib import Path

if sys.dont_write_bytecode:  # containers set it, and each process that imports torch compiles all of it, for seconds
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(Path(__file__).with_name("__pycache__"))
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

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


@pytest.fixture(scope="session", autouse=True)
def no_power_cut():
    """Files need not outlive one: waiting for the disk took half a second of every run of many trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module")
def benchmark_named():
    """A function that imports a module of benchmarks/ by its name; these modules are forgotten after the file."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(folder):
            del sys.modules[name]


@pytest.fixture
def in_fp32(monkeypatch):
    """A processor without bfloat16: nets answer in a run as they do from their files, to the last digits."""
    monkeypatch.setattr("autoclimb.learn.devices.has_bf16", lambda device: False)


@pytest.fixture(scope="module", autouse=True)
def small_heap():
    """Garbage collections look at what a file makes, not at all that thousands of tests have imported: .3 s each."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """At exit everything is let go of: libraries in C++ print what they think has leaked."""
    gc.unfreeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of the longest tests are begun first, then those of most tests: so both processes end at about one time."""
    count = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (item.path not in long, -count[item.path]))
