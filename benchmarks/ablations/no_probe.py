"""The plan without frozen features: nets are ranked by their standing alone, and nothing is known of mirrored pictures.

autoclimb fit ./data --metric f2 --budget 4h --recipe benchmarks/ablations/no_probe.py
"""

from autoclimb import SearchSpace

RECIPE = {"space": SearchSpace(features=False)}
