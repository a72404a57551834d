"""Random streams named by purpose, so that a resumed or parallel run draws the same numbers."""

import hashlib

import numpy as np


def seed_of(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose: `seed_of(0, "fold", 3)`. The same on every machine and Python."""
    text = repr((seed, *purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def rng(seed: int, *purpose: str | int) -> np.random.Generator:
    """A numpy generator for one purpose: `rng(0, "fold", 3)`."""
    return np.random.default_rng(seed_of(seed, *purpose))


def some_of(n: int, most: int, *purpose: str | int) -> np.ndarray:
    """Row indices, ascending: all `n`, or `most` drawn at random. Every k-th row would alias with the rows' order."""
    return np.arange(n) if n <= most else np.sort(rng(0, "some of", n, *purpose).permutation(n)[:most])
