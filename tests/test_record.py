"""What a benchmark's row says beside the score."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent / "benchmarks"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture(scope="module")
def record():
    spec = importlib.util.spec_from_file_location("record", HERE / "record.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["record"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_a_family_is_all_that_descend_from_its_first(record):
    assert record.family({1: 0, 5: 1, 6: 5, 7: 6, 8: 1}, {5}) == {5, 6, 7}


def test_a_family_keeps_a_child_whose_parent_has_ended(record):
    seen = record.family({1: 0, 5: 1, 6: 5, 7: 6}, {5})
    assert record.family({1: 0, 5: 1, 7: 1, 9: 7}, seen) == {5, 7, 9}  # 6 has ended, 7 is now the child of 1


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_a_child_with_a_session_of_its_own_counts(record):
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        found = record.family(record.parents(), {parent.pid})
        assert child in found
        assert os.getpid() not in found
        assert record.held_by(found) > record.held_by({parent.pid}) > 0
        parent.communicate("\n")


def test_a_command_is_stopped_at_its_limit_with_what_it_started(record):
    ran = record.run([sys.executable, "-c", "import subprocess, sys; subprocess.run(['sleep', '60'])"], 0.5)
    assert ran.status != 0
    assert ran.seconds < 30


def test_a_command_that_fails_says_its_last_words(record):
    ran = record.run([sys.executable, "-c", "print('once'); import sys; sys.exit('the | disk is full')"], 30)
    assert (ran.status, ran.words) == (1, "the / disk is full")
