"""The plan without its searching stages: features, then finalists that nothing was compared with.

autoclimb fit ./data --metric f2 --budget 4h --recipe benchmarks/ablations/no_stages.py
"""

RECIPE = {"plan": ["baseline", "finalists", "rest"]}
