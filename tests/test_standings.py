"""What is said of a table of scores, by hand and against scipy."""

import math

import numpy as np
import pytest
from benches import outcome
from scipy.stats import friedmanchisquare

from autoclimb.contest.standings import (
    critical_difference,
    friedman,
    indistinguishable,
    left_out,
    medal_reached,
    noise,
    pairs_at,
    promises,
    ranking_at,
    rankings,
    summaries,
)
from autoclimb.score.metrics import metric_named
from autoclimb.types import Goal


def gone(o):
    return None


def test_a_summary_has_the_mean_and_the_deviation_over_seeds():
    row = summaries([outcome("a", 0.8), outcome("a", 0.9, seed=1), outcome("a", None, seed=2)])[0]
    assert (row.mean, row.seeds, row.failed) == (pytest.approx(0.85), 2, 1)
    assert row.over_seeds == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert row.error == row.over_seeds
    alone = summaries([outcome("a", 0.8)])[0]
    assert math.isnan(alone.over_seeds)
    assert alone.error == alone.over_rows


def test_ranks_are_means_over_sets_and_a_failure_is_last():
    scores = {"x": (0.9, 0.8, 0.7), "y": (0.8, 0.9, 0.7), "z": (0.9, 0.9, None)}
    rows = [outcome(s, v, name) for name, vs in scores.items() for s, v in zip("abc", vs, strict=True)]
    ranking = ranking_at(rows)
    assert dict(ranking.mean_ranks) == {"a": (1 + 2 + 1.5) / 3, "b": (2 + 1 + 1.5) / 3, "c": 3.0}
    assert ranking.sets == 3
    assert "3 sets and 3 solvers are few" in ranking.caution


def test_lower_scores_rank_first_where_the_metric_wants_them():
    rows = [outcome("a", 2.0, higher_is_better=False), outcome("b", 3.0, higher_is_better=False)]
    assert [name for name, _ in ranking_at(rows).mean_ranks] == ["a", "b"]


def test_ranks_are_taken_on_sets_that_every_solver_was_run_on():
    rows = [outcome("a", 0.9), outcome("b", 0.8), outcome("a", 0.1, "other")]
    assert ranking_at(rows).sets == 1
    assert ranking_at([outcome("a", 0.9), outcome("b", 0.8, "other")]) is None
    assert len(rankings([*rows, outcome("a", 0.9, budget_s=300), outcome("b", 0.9, budget_s=300)])) == 2


def test_sets_left_out_of_ranks_are_named_with_the_reason():
    rows = [outcome(solver, 0.9, name) for name in ("x", "y") for solver in "abc"]
    rows = [*rows, outcome("a", 0.9, "z"), outcome("b", None, "none"), outcome("a", None, "none")]
    rows += [outcome("c", None, "none"), outcome("a", 0.1, "alone")]
    assert left_out(rows) == {
        "z": "not run by b, c",
        "none": "no solver has a score",
        "alone": "not run by b, c",
    }
    assert ranking_at(rows).sets == 2
    assert left_out([outcome("a", 0.9), outcome("a", 0.9, "y")]) == {}  # a single solver has no rank anyway


def test_a_solver_that_failed_on_some_seeds_has_the_mean_of_the_others_everywhere():
    rows = [outcome("a", 0.9), outcome("a", None, seed=1), outcome("b", 0.6), outcome("b", 0.7, seed=1)]
    assert summaries(rows)[0].mean == 0.9
    assert [name for name, _ in ranking_at(rows).mean_ranks] == ["a", "b"]
    assert pairs_at(rows, gone)[0].wins == 1


def test_two_solvers_that_failed_are_level_and_a_set_that_one_was_not_run_on_is_no_pair():
    rows = [outcome("a", None), outcome("b", None), outcome("a", 0.9, "y")]
    (pair,) = pairs_at(rows, gone)
    assert (pair.wins, pair.ties, pair.losses) == (0, 1, 0)


def test_the_test_is_iman_and_davenports_of_friedmans():
    draw = np.random.default_rng(0)
    ranks = np.array([draw.permutation(5) + 1.0 for _ in range(12)])
    chi2 = friedmanchisquare(*ranks.T).statistic
    from scipy.stats import f

    assert friedman(ranks) == pytest.approx(f.sf(11 * chi2 / (12 * 4 - chi2), 4, 44))


def test_tied_ranks_are_corrected_for_as_scipy_does():
    from scipy.stats import f

    ranks = np.array([[1.5, 1.5, 3], [1, 2.5, 2.5], [1, 2, 3], [2, 2, 2], [1, 3, 2.0]])
    chi2 = friedmanchisquare(*ranks.T).statistic
    assert friedman(ranks) == pytest.approx(f.sf(4 * chi2 / (5 * 2 - chi2), 2, 8))
    assert friedman(np.full((3, 4), 2.5)) == 1.0


@pytest.mark.parametrize(("sets", "solvers"), [(2, 3), (3, 3), (2, 5)])
def test_sets_that_all_agree_are_no_surer_than_chance_makes_them(sets, solvers):
    assert friedman(np.tile(np.arange(solvers) + 1.0, (sets, 1))) == pytest.approx(
        math.factorial(solvers) ** (1.0 - sets)
    )


@pytest.mark.parametrize(("solvers", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_nemenyis(solvers, q):
    """Values of q at 5 % from Demšar 2006, table 5."""
    assert critical_difference(solvers, 14) == pytest.approx(q * math.sqrt(solvers * (solvers + 1) / 84), abs=2e-3)


def test_groups_are_the_largest_within_the_difference():
    ranks = [("a", 1.0), ("b", 1.5), ("c", 2.2), ("d", 4.0)]
    assert indistinguishable(ranks, 1.0) == (("a", "b"), ("b", "c"))
    assert indistinguishable(ranks, 0.1) == ()


def test_a_tie_is_a_difference_within_the_noise():
    near = [outcome("a", 0.80), outcome("b", 0.82)]
    far = [outcome("a", 0.80, "far"), outcome("b", 0.90, "far")]
    lost = [outcome("a", 0.80, "lost"), outcome("b", None, "lost")]
    pair = pairs_at([*near, *far, *lost], gone)[0]
    assert (pair.wins, pair.ties, pair.losses) == (1, 1, 1)


def test_test_rows_count_paired_and_seeds_count_too():
    truth = np.arange(100) % 2
    one, other = truth.copy(), truth.copy()
    one[:30] = 1 - one[:30]
    other[:34] = 1 - other[:34]  # wrong on the same rows and four more
    goal = Goal(metric_named("accuracy"), "binary")
    answers = {"a": (truth, one, goal), "b": (truth, other, goal)}
    ours, theirs = [outcome("a", 0.70, stderr=0.046)], [outcome("b", 0.66, stderr=0.047)]
    paired = noise(ours, theirs, lambda o: answers[o.solver])
    assert paired == pytest.approx(np.sqrt(0.04 * 0.96 / 99), rel=1e-3)
    assert noise(ours, theirs, gone) == pytest.approx(math.hypot(0.046, 0.047))
    seeds = [*ours, outcome("a", 0.80, seed=1, stderr=0.04)]
    assert noise(seeds, theirs, lambda o: answers[o.solver]) > 0.07  # b's single seed varies as a's two do


def test_a_promise_is_over_zero_where_it_was_too_much():
    rows = promises(
        [
            outcome("a", 0.80, oof=0.83, oof_stderr=0.0, stderr=0.01),
            outcome("b", 2.0, oof=1.9, oof_stderr=0.05, stderr=0.0, higher_is_better=False),
            outcome("c", 0.5),
            outcome("d", None, oof=0.9),
        ]
    )
    assert [(r.solver, round(r.sigmas, 6)) for r in rows] == [("a", 3.0), ("b", 2.0)]


def test_medals_go_by_the_lines():
    lines = (("gold", 0.95), ("bronze", 0.9))
    assert [medal_reached(v, lines, True) for v in (0.96, 0.95, 0.92, 0.8)] == ["gold", "gold", "bronze", ""]
    assert medal_reached(1.9, (("silver", 2.0),), False) == "silver"
