"""More time is never worse: plans of one situation over growing budgets, in a made-up world where losses are known."""

import math
from functools import cache

import pytest
from test_plan import HOUR, MINUTE, plan_on

from autoclimb.budget import SLACK, seconds_kept
from autoclimb.config import Config
from autoclimb.dry_run import Plan
from autoclimb.search import climb
from autoclimb.search.fidelity import epochs_for, folds_of
from autoclimb.search.finals import is_long
from autoclimb.search.nets import net_named
from autoclimb.search.rehearsal import PlannedTrial
from autoclimb.search.situation import Situation

BUDGETS = (60.0, 90.0, 120.0, 150.0, 240.0, 5 * MINUTE, 8 * MINUTE, 10 * MINUTE, 20 * MINUTE, HOUR, 4 * HOUR)
SITUATIONS = {  # device, rows, pixels a side, what else
    "two cores, few large pictures": ("cpu", 1_000, 300, {}),
    "two cores, photographs": ("cpu", 2_500, 100, {}),
    "two cores, stamps": ("cpu", 10_000, 32, {}),
    "two cores, many photographs": ("cpu", 20_000, 500, {}),
    "two cores, no weights": ("cpu", 2_500, 100, {"pretrained": False}),
    "an H100, few pictures": ("h100", 400, 100, {}),
    "an H100, photographs": ("h100", 2_500, 100, {}),
    "an H100, stamps": ("h100", 10_000, 32, {}),
    "an H100, many photographs": ("h100", 20_000, 500, {}),
    "an H100, very many small pictures": ("h100", 60_000, 96, {}),
    "an H100 offline": ("h100", 20_000, 500, {"hub": False}),
    "a T4": ("t4", 2_500, 100, {}),
}
each_situation = pytest.mark.parametrize("name", SITUATIONS)
TOLERATED = 1.11  # of the least loss so far: the world below is rough
FROM_NOTHING, BY_HAND, FROZEN, TOP = 1.7, 3.0, 1.5, 1.06  # times the loss of a pretrained net that is trained whole


@cache
def plans(name: str) -> list[Plan]:
    device, rows, side, more = SITUATIONS[name]
    return [plan_on(device, budget, rows, side, **more) for budget in BUDGETS]


def expected_loss(row: PlannedTrial, s: Situation) -> float:
    """The loss of a trial in a world that is like photographs are: larger nets, more pixels and epochs all help.

    Its figures are roughly those of benchmarks/LOG.md: a half of the pixels a side costs a quarter, a fifth of a full
    training a quarter too, a net that leaves rows out is worth little to a blend of nets that do not.
    """
    config, net = row.config, net_named(row.config.backbone)
    if config.train == "features" and not config.weights:
        return BY_HAND
    size = 0.93 ** max(math.log2(net.gmacs / 0.4), -2.0)  # a doubled net leaves .93 of the loss
    loss = size if config.weights else FROM_NOTHING * math.sqrt(size)
    loss *= 1 + 0.25 * max(math.log2(min(net.size, max(1.3 * s.side, 64)) / config.size), 0.0)
    if config.train == "features":
        return FROZEN * loss
    trained = max(row.epochs / epochs_for("full", config, s), 1e-3) / (2 if is_long(config) else 1)
    loss *= (1 + 0.12 * trained**-0.7) * (TOP if config.top else 1.0) * (0.95 if is_long(config) else 1.0)
    return loss * (1 + 0.15 * (1 - len(config.folds) / folds_of(s)))


def blended_loss(plan: Plan) -> float:
    """The loss of a blend: the best trial's, less for every other kind of net and a little for further seeds."""
    by_kind: dict[tuple[str, bool, bool], list[float]] = {}
    for row in plan.trials:
        kind = (row.config.backbone, is_long(row.config), row.config.train == "net")
        by_kind.setdefault(kind, []).append(expected_loss(row, plan.situation))
    if not by_kind:
        return math.inf
    best, *others = sorted(by_kind.values(), key=min)
    others_help = math.prod(1 - 0.04 * min(min(best) / min(losses), 1.0) ** 3 for losses in others)
    return min(best) * others_help * 0.985 ** min(len(best) - 1, 3)


@each_situation
def test_more_time_never_gives_a_worse_expected_score(name):
    least = math.inf
    for budget, plan in zip(BUDGETS, plans(name), strict=True):
        loss = blended_loss(plan)
        assert loss <= TOLERATED * least, f"{loss:.3f} in {budget:.0f} s, {least:.3f} in less time"
        least = min(least, loss)


@each_situation
def test_rows_that_a_smaller_budget_predicts_a_larger_one_does_too(name):
    predicted = 0
    for budget, plan in zip(BUDGETS, plans(name), strict=True):
        folds = max((len(row.config.folds) for row in plan.trials), default=0)
        assert folds >= predicted, f"{folds} folds in {budget:.0f} s"
        predicted = folds


@each_situation
def test_from_two_minutes_on_a_plan_leaves_little_but_what_its_last_blend_needs(name):
    for budget, plan in zip(BUDGETS, plans(name), strict=True):
        end = seconds_kept(budget, SLACK.first_quick_blend)
        assert plan.seconds <= budget - end
        assert budget < 2 * MINUTE or plan.seconds + end >= 0.9 * budget, f"{plan.seconds:.0f} of {budget:.0f} s"


@pytest.mark.parametrize("budget", [60.0, 100.0, 180.0])
@pytest.mark.parametrize(("rows", "side"), [(400, 100), (1_000, 300), (2_500, 100)])
def test_finalists_on_a_fast_card_are_planned_so_that_none_loses_a_fold(rows, side, budget, monkeypatch):
    cut: list[Config] = []
    monkeypatch.setattr(climb, "shortened", lambda config, *rest: cut.append(config))
    plan = plan_on.__wrapped__("h100", budget, rows, side)
    assert len(plan.finalists) > 1
    assert [config.folds for config in cut if config.train == "net"] == []


@pytest.mark.parametrize("budget", [154.0, 180.0, 200.0])
@pytest.mark.parametrize(("rows", "side"), [(1_000, 300), (2_500, 100), (2_500, 150), (5_000, 32)])
def test_no_minutes_of_a_processor_go_to_nets_that_leave_rows_out_beside_features_that_do_not(rows, side, budget):
    plan = plan_on("cpu", budget, rows, side)
    nets = {row.config.backbone: row.config.folds for row in plan.trials if row.config.train == "net"}
    assert [folds for folds in nets.values() if len(folds) < folds_of(plan.situation)] == []
    assert any(row.config.weights for row in plan.trials)
