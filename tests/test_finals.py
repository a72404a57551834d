"""Finalists: families, not copies, each with its own seconds; the hopeless are stopped after a fold; costs learn."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import BOXED, FACTS, LOCAL, SITUATIONS, check, situation, speed, trial
from hypothesis import given, settings
from hypothesis import strategies as st

from autoclimb.config import Config
from autoclimb.dry_run import situation_on
from autoclimb.search.capacity import MOST_KEPT_IN_ALL, fits_memory, kept_bytes, memory_for, within_memory
from autoclimb.search.corrections import corrected, seconds_words, speed_words
from autoclimb.search.cost import (
    DOWNLOAD,
    at_own_size,
    cost_of,
    decoding_of,
    decoding_seconds,
    full_cost,
    head_seconds,
    ready_seconds,
    speed_of,
    trunk_seconds,
    with_kept,
)
from autoclimb.search.families import chosen, families_paid, family_heads
from autoclimb.search.fidelity import (
    LONGEST,
    comparable,
    epochs_for,
    epochs_in,
    epochs_paid,
    final_seconds,
    finalist_epochs,
    fold_seconds,
    folds_for,
    folds_of,
    kinds_at_hand,
    least_size,
    pixels_first,
    sizes_for,
    sound_at_its_size,
    soundly,
    with_deeper_top,
    with_pixels,
    with_size,
    with_top,
)
from autoclimb.search.filling import fill
from autoclimb.search.finals import (
    LONG_RECIPE,
    decide_finalists,
    far_worse,
    finalists,
    finals_of,
    hopeless,
    is_long,
    least_again,
    long_recipe,
    most_epochs,
    seconds_each,
    used_up,
    with_long_recipe,
)
from autoclimb.search.frozen import features_are_all, frozen_net, over_all_folds
from autoclimb.search.leftover import decide_rest, lone_net
from autoclimb.search.nets import from_hub, net_named, with_hub
from autoclimb.search.order import PLAN
from autoclimb.search.rates import DEVICES, memory_gb
from autoclimb.search.retreat import instead_of
from autoclimb.search.situation import Speed, rows_of_fold
from autoclimb.search.space import SearchSpace
from autoclimb.search.stages import compared, leader, search_base
from autoclimb.search.starting import base_config, candidates, from_nothing, with_useful_nets
from autoclimb.types import History, Trial

HOUR = 3600.0
CARD = {**SITUATIONS["a card, with the hub"], "budget": 4 * HOUR}


def run_finalists(s, losses: dict[str, float] | None = None) -> list[Config]:
    """What the stage asks for; a net whose family is in `losses` has that loss on every row, any other .2."""

    def row_losses(t: Trial) -> np.ndarray:
        loss = (losses or {}).get(net_named(t.config.backbone).family, 0.2)
        return np.random.default_rng(0).normal(loss, 0.02, 500)

    s = replace(s, row_losses=row_losses)
    history, asked = History(), []
    for batch in finalists(history, s):
        for config in batch:
            asked.append(config)
            loss = float(row_losses(trial(config)).mean())
            history.add(replace(trial(config, "finalists"), score=-loss))
    return asked


def test_each_family_gets_its_first_fold_before_any_gets_the_others():
    asked = run_finalists(situation(**CARD))
    counts = [len(config.folds) for config in asked]
    assert counts == sorted(counts)
    firsts = [config for config in asked if len(config.folds) == 1]
    assert len({net_named(config.backbone).family for config in firsts}) >= 3
    assert [c.vary(folds=()) for c in firsts] == [c.vary(folds=()) for c in asked[len(firsts) :]]


def test_a_finalist_that_is_far_worse_on_its_first_fold_gets_no_others():
    fair = run_finalists(situation(**CARD))
    family = net_named(fair[1].backbone).family
    asked = run_finalists(situation(**CARD), {family: 0.9})
    families = {net_named(config.backbone).family for config in asked if len(config.folds) > 1}
    assert family not in families
    assert families == {net_named(config.backbone).family for config in fair} - {family}


def test_one_that_is_a_little_worse_keeps_its_folds_for_the_blend():
    fair = run_finalists(situation(**CARD))
    family = net_named(fair[1].backbone).family
    assert run_finalists(situation(**CARD), {family: 0.22}) == fair


@settings(max_examples=30, deadline=None)
@given(
    time=st.floats(60, 1e5), count=st.integers(1, 5), rows=st.integers(100, 50_000), seed=st.integers(0, 3)
)  # fmt: skip
def test_shares_use_the_time_and_none_takes_most_of_it(time, count, rows, seed):
    s = situation(**{**CARD, "rows": rows})
    nets = [row["backbone"] for row in from_hub("cuda")]
    configs = [Config(backbone=nets[(seed + 3 * i) % len(nets)], weights="hub", size=224) for i in range(count)]
    each = seconds_each(configs, time, s)
    assert sum(each) * folds_of(s) <= time + 1e-6
    assert all(seconds >= 0 for seconds in each)
    if count >= 3:
        assert max(each) * folds_of(s) <= 0.41 * time


@settings(max_examples=30, deadline=None)
@given(time=st.floats(60, 1e5), count=st.integers(1, 5), rows=st.integers(100, 50_000))
def test_time_that_would_train_no_further_seed_goes_to_the_finalists(time, count, rows):
    s = situation(**{**CARD, "rows": rows})
    configs = [Config(backbone=row["backbone"], weights="hub", size=224) for row in from_hub("cuda")[:count]]
    each = seconds_each(configs, time, s)
    used = used_up(configs, each, time, s)
    left = time - folds_of(s) * sum(used)
    assert left >= -1e-6
    assert left < 1e-6 or (used == each and left >= min(least_again(c, folds_of(s), s) for c in configs))


def tuned(name: str) -> Config:
    """A pretrained net of the hub that was not tried."""
    return next(net for net in candidates(situation(**CARD)) if net.backbone.split(".")[0] == name)


def test_nets_that_would_see_pictures_far_below_their_own_size_come_after_those_that_would_not():
    s = situation(**CARD)
    small, large, small_and_large = (
        [tuned("caformer_s18")],
        [tuned("tf_efficientnetv2_m")],
        [tuned("tf_efficientnetv2_m"), tuned("tf_efficientnetv2_s")],
    )
    time = 2 * folds_of(s) * fold_seconds(epochs_for("sound", small[0], s), small[0].vary(size=160), s) + 50
    rows = chosen([small, large, [tuned("convnext_tiny")]], 2, time, "sound", s)
    assert [c.backbone.split(".")[0] for c in rows] == ["caformer_s18", "convnext_tiny"]
    rows = chosen([large, small], 2, time, "sound", s)
    assert rows[0].backbone == large[0].backbone, "the first family is the best so far"
    rows = chosen([small, small_and_large], 2, time, "sound", s)
    assert rows[1].backbone.startswith("tf_efficientnetv2_s"), "300 px are nearer to 160 than 384"
    assert chosen([small, large], 3, time, "sound", s) == []


def test_other_nets_may_cost_the_first_one_pixels_beyond_those_that_it_was_made_for():
    def measure(config):  # all of a net so slowly that tops alone are trained
        return speed(config) if config.top or not config.weights else replace(speed(config), train=1.0)

    s = on_two_cores(side=300, rows=700, budget=HOUR, pretrained=BOXED, measure=measure)
    heads = [[net] for net in [*candidates(s), *from_nothing(History(), s)]]
    largest = with_top(heads[0][0], s).vary(size=384)
    folds = folds_of(s) * fold_seconds(epochs_for("sound", largest, s), largest, s)
    time = 1.1 * (folds + trunk_seconds(largest, s) + decoding_of(largest, s))
    [alone] = chosen(heads, 1, time, "sound", s)
    assert alone.size == 384
    paid = families_paid(heads, time, s)
    assert len(paid) == 3
    assert 0.66 * net_named(alone.backbone).size <= paid[0].size < 0.66 * alone.size


@pytest.mark.parametrize("budget", [600.0, 3600.0, 2 * HOUR])
def test_a_net_that_was_not_tried_may_be_trained_at_any_size_for_the_sake_of_others(budget):
    s = on_two_cores(budget=budget, rows=20_000, answered=5_000, side=500, pretrained=BOXED, pixel_bytes=1e9)
    assert {config.seconds for head in family_heads(History(), s) for config in head} == {0.0}
    history = History([trial(base := search_base(History(), s), "baseline")])
    assert family_heads(history, s)[0][0].seconds == base.seconds > 0


def test_a_long_recipe_is_trained_beside_the_first_where_thirty_epochs_are_at_hand():
    long = [config for config in run_finalists(situation(**{**CARD, "rows": 2000})) if is_long(config)]
    assert long
    assert all(config.cutmix > 0 and config.drop_path >= 0.1 for config in long)
    assert not [config for config in run_finalists(situation(**{**CARD, "rows": 200_000})) if is_long(config)]


def test_a_net_that_adopted_trivial_augmentation_and_cutmix_is_no_long_recipe():
    s = situation(**{**CARD, "rows": 2000})
    net = base_config(History(), s).vary(policy="trivial", cutmix=1.0)
    assert most_epochs(net, s) == epochs_for("full", net, s) < most_epochs(long_recipe(net, s), s)


def test_the_first_net_that_trains_whole_gets_the_long_recipe_where_the_best_one_trains_its_top():
    s = on_two_cores(budget=24 * HOUR, pretrained=BOXED)
    top = with_top(candidates(s)[0].vary(size=128), s)
    [scratch] = from_nothing(History(), s)
    assert with_long_recipe([top, scratch], 1e5, s) == [top, scratch, long_recipe(scratch, s)]
    assert with_long_recipe([top], 1e5, s) == [top]
    few = with_long_recipe([top, scratch], 5 * fold_seconds(LONG_RECIPE, scratch, s), s)
    assert few == [top, scratch], "there are no thirty epochs of it"


def test_weights_are_averaged_only_where_the_card_holds_another_copy_of_them():
    def measure(config):
        return replace(speed(config, "cuda"), fixed_bytes=3e9, picture_bytes=3e6)

    averages = set()
    for gigabytes in np.arange(6.0, 12.0, 0.25):
        s = situation(**{**CARD, "rows": 2000, "measure": measure, "memory_gb": gigabytes, "pretrained": ()})
        for config in decide_finalists(History(), s):
            assert within_memory(config, s) == config, "the controller would halve the batch of a net planned with all"
            averages.add(config.ema > 0)
    assert averages == {True, False}


def test_a_finalist_whose_first_fold_needed_a_smaller_batch_is_judged_by_it_too():
    s = situation(**CARD)
    first, second, *_ = decide_finalists(History(), s)
    s = replace(s, row_losses=lambda t: np.full(500, 0.2 if t.config.backbone == first.backbone else 0.9))
    one, other = (config.vary(folds=config.folds[:1]) for config in (first, second))
    smaller = other.vary(batch=other.batch // 2)
    failed = replace(trial(other, "finalists", "failed"), facts={"fault": "memory"})
    trials = [trial(one, "finalists"), failed, trial(smaller, "finalists")]
    trials = [replace(t, score=0.9 if t.config.backbone == first.backbone else 0.5) for t in trials]
    assert hopeless(second, [first, second], History(trials), s)
    assert not hopeless(first, [first, second], History(trials), s)


@pytest.mark.parametrize(("loss", "ends"), [(1.55, False), (1.62, True)])
def test_seeds_differ_by_their_noise_once_in_what_is_far_worse(loss, ends):
    s = situation(row_losses=lambda t: np.full(500, loss if t.config.seed else 1.0))
    best, other = trial(Config()), trial(Config(seed=1))
    assert far_worse(other, best, s) is ends


def test_nets_that_are_clearly_worse_row_by_row_are_not_near_the_best_though_their_scores_are():
    s = situation(budget=4 * HOUR, pretrained=LOCAL)
    base = search_base(History(), s)
    other = next(net for net in candidates(s) if net.backbone != base.backbone).vary(seconds=base.seconds)
    hard = np.random.default_rng(0).gamma(2.0, 0.5, 500)
    history = History([replace(trial(config, "baseline"), score=0.9) for config in (base, other)])
    for loss, near in ((0.97, True), (1.3, False)):
        known = replace(s, row_losses=lambda t, loss=loss: hard * (1.0 if t.config == base else loss))
        tried = {c.backbone for head in family_heads(history, known) for c in head if c.seconds}
        assert tried == ({base.backbone, other.backbone} if near else {base.backbone})


def test_two_that_the_search_could_not_tell_apart_need_no_more_than_enough_epochs_each():
    s = on_two_cores(rows=2_000, side=64, budget=HOUR, pretrained=BOXED)
    s = replace(s, measure=lambda config: replace(speed(config), train=1000.0))
    ours, theirs = (net.vary(seconds=30.0) for net in (from_nothing(History(), s)[0], candidates(s)[0].vary(size=96)))
    time = 2 * (folds_of(s) * fold_seconds(1.2 * epochs_for("enough", ours, s), ours, s) + 5)
    equals = families_paid([[ours], [theirs]], time, s)
    assert [c.backbone for c in equals] == [ours.backbone, theirs.backbone]
    other = theirs.vary(seconds=0.0)
    assert [c.backbone for c in families_paid([[ours], [other]], time, s)] == [ours.backbone]


@pytest.mark.parametrize("count", [1_000, 5_000, 6_250, 20_000])
def test_features_of_all_finalists_fit_what_a_worker_leaves_on_disk(count):
    s = on_two_cores(rows=count * 4 // 5, answered=count // 5, side=300, budget=24 * HOUR, pretrained=(*LOCAL, *BOXED))
    heads = [[with_top(net, s)] for net in candidates(s)]
    for time in (1e3, 1e4, 1e5):
        configs = families_paid(heads, time, s)
        assert sum(kept_bytes(c, s) for c in configs if c.top) <= MOST_KEPT_IN_ALL
    assert len(configs) >= 3


@pytest.mark.parametrize("filled", [0, 1, 3])
def test_features_that_filled_time_are_no_turn_of_the_nets(filled):
    s = situation(budget=HOUR, pretrained=BOXED, left=lambda: 1e5)
    history = with_features(s, 0.7)
    [final] = [t.config for t in history.done(train="net")]
    fills = [trial(frozen_net(BOXED[1], size, s), "rest") for size in (96, 128, 160)][:filled]
    history.trials += [replace(t, score=0.6) for t in fills]
    full = epochs_for("full", final, s)
    for turn in (1, 2, 3):
        config = Config.from_json(decide_rest(filled + turn, history, s))
        assert epochs_in(config.seconds, config, s) == pytest.approx(min(turn * full, LONGEST), rel=0.01)
        history.add(replace(trial(config, "rest"), score=0.1))


# --- what was decided stays decided ----------------------------------------------------------------------------------


def after_a_search(**changes) -> tuple:
    """Hours on two cores, the history of a search whose base was clearly improved on twice, and that base."""
    facts = {**FACTS, "rows": 2500, "answered": 625, "side": 100, "folds": 5, **changes}
    s = situation_on(DEVICES["cpu"], hub=False, pretrained=True, budget=4 * HOUR, **facts)
    base = search_base(History(), s)
    better = [base.vary(policy="medium"), base.vary(policy="medium", loss="focal")]
    loss_of = {base.key: 1.0, better[0].key: 0.7, better[1].key: 0.4}
    hard = np.random.default_rng(0).gamma(2.0, 0.5, 500)
    s = replace(s, left=lambda: 0.65 * s.budget, row_losses=lambda t: hard * loss_of.get(t.key, 1.0))
    trials = [
        trial(config, stage)
        for config, stage in zip([base, *better], ("baseline", "augmentation", "loss"), strict=True)
    ]
    assert leader(History(trials), s) == better[1]
    return s, History(trials), base


def as_fast(history: History, s, pace: float) -> History:
    """The history where all nets trained at `pace` times the speed that was measured."""
    return History([replace(t, facts={"img_s": pace * speed_of(t.config, s).train}) for t in history.trials])


@pytest.mark.parametrize("pace", [0.3, 0.8, 0.92, 1.0, 1.5, 3.0])
def test_finalists_have_what_the_search_adopted_at_whatever_speed_its_trials_trained(pace):
    s, history, base = after_a_search()
    history = as_fast(history, s, pace)
    known = corrected(history, s)
    assert pace != 0.8 or base_config(history, known).vary(seconds=base.seconds) != base, "it would start elsewhere now"
    assert compared(history, known)
    configs = decide_finalists(history, s)
    assert len(configs) >= 3
    assert {config.loss for config in configs} == {"focal"}
    assert {config.policy for config in configs if not is_long(config)} == {"medium"}


def test_finalists_have_what_was_adopted_on_a_base_that_came_in_place_of_one_that_failed():
    s, _, base = after_a_search()
    half = base.vary(batch=base.batch // 2)
    loss_of = {half.key: 1.0, half.vary(policy="medium").key: 0.5}
    hard = np.random.default_rng(0).gamma(2.0, 0.5, 500)
    s = replace(s, row_losses=lambda t: hard * loss_of.get(t.key, 1.0))
    trials = [trial(base, "baseline", "failed"), trial(half, "baseline"), trial(half.vary(policy="medium"), "loss")]
    assert {c.policy for c in decide_finalists(History(trials), s) if not is_long(c)} == {"medium"}


def test_what_was_adopted_stays_so_when_further_frozen_features_rank_the_nets_anew():
    s, history, base = after_a_search()
    others = [row for row in BOXED if row["backbone"] != base.backbone]
    here = next(row for row in BOXED if row["backbone"] == base.backbone)
    before = leader(history, s)
    history.trials += [
        replace(trial(frozen_net(row, 128, s), "rest"), score=score, facts={"skill": 0.8, "mirror": 1.5, "turn": 1.5})
        for row, score in ((here, 0.1), *((row, 0.9) for row in others))
    ]
    assert base_config(history, s).vary(seconds=base.seconds) != base
    assert leader(history, s) == before


@pytest.mark.parametrize("pace", [0.3, 0.92, 1.0])
def test_trials_of_the_search_are_no_finalists_on_one_holdout(pace):
    s, history, base = after_a_search(rows=120_000, answered=1_000, folds=10)
    assert folds_of(s) == 1
    history = as_fast(history, s, pace)
    final = trial(base.vary(seconds=2 * base.seconds), "finalists")
    of_a_person = trial(base.vary(seconds=3 * base.seconds), "two_seeds")
    history.trials += [final, of_a_person]
    assert {t.key for t in finals_of(history, corrected(history, s))} == {final.key, of_a_person.key}


def slowest(holds, s):
    """The situation with its nets as slow as they may be for it to hold."""

    def at(factor: float):
        return replace(
            s, measure=lambda c: replace(v := s.measure(c), train=factor * v.train, predict=factor * v.predict)
        )

    return at(min(1.05**n for n in range(-150, 150) if holds(at(1.05**n))))


def test_pretrained_nets_that_the_search_compared_are_finalists_though_they_train_a_little_slower():
    seen = [(Config(train="features", backbone="gradients"), 0.3), (Config(train="features", weights="box"), 0.1)]
    features = [replace(trial(config, "baseline"), facts={"skill": skill}) for config, skill in seen]
    s = on_two_cores(budget=HOUR, pretrained=BOXED, left=lambda: 0.6 * HOUR)
    s = slowest(lambda s: bool(with_useful_nets(History(features), s).pretrained), s)
    base = search_base(History(features), s)
    history = History(
        [*features, *as_fast(History([trial(base, "baseline"), trial(base.vary(loss="focal"))]), s, 0.9).trials]
    )
    assert not with_useful_nets(history, corrected(history, s)).pretrained
    assert base.backbone in {config.backbone for config in decide_finalists(history, s)}


def test_hand_made_features_that_filled_time_and_did_as_well_leave_what_is_left_to_a_net_from_scratch():
    s = situation(budget=100.0, pretrained=BOXED, rows=500, left=lambda: 50.0, space=SearchSpace(features=False))
    s = replace(s, measure=lambda config: Speed(500.0, 1500.0))
    history = History([replace(trial(frozen_net(BOXED[0], 96, s), "baseline"), facts={"skill": 0.8})])
    tuned = Config.from_json(decide_rest(1, history, s))
    assert tuned.weights == "box"
    patches = Config(train="features", backbone="patches", folds=(0, 1, 2, 3, 4))
    history.add(replace(trial(patches, "rest"), facts={"skill": 0.9}))
    assert not features_are_all(history, s), "pretrained nets are no longer thought to be of use"
    assert Config.from_json(decide_rest(2, history, s)).weights == ""


def test_features_that_took_all_of_the_time_leave_what_is_left_to_a_net_though_its_cut_is_stored():
    s = on_two_cores(budget=300.0, pretrained=BOXED, rows=20_000, left=lambda: 100.0, space=SearchSpace(features=False))
    s = slowest(over_all_folds, s)
    s = replace(s, rows=int(1.06 * s.rows))
    history = History([trial(frozen_net(BOXED[0], 96, s))])
    assert features_are_all(history, s)
    assert not features_are_all(history, with_kept(history, s))
    assert decide_rest(1, history, s) is not None


# --- how long, how large, at what cost --------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"weights": "hub"}, {"weights": "hub", "top": 2}])
@given(rows=st.integers(20, 2_000_000))
def test_quick_is_less_than_enough_than_sound_than_full(changes, rows):
    s, config = situation(rows=rows), Config(**changes)
    quick, enough, sound, full = (epochs_for(level, config, s) for level in ("quick", "enough", "sound", "full"))
    assert quick <= enough <= sound
    assert enough <= full
    assert sound <= max(full, enough)


@given(side=st.integers(16, 4000), rows=st.integers(50, 2_000_000), tuned=st.booleans())
def test_there_is_always_a_size(side, rows, tuned):
    sizes = sizes_for(Config(weights="hub" if tuned else ""), situation(side=side, rows=rows))
    assert sizes
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("size", "seconds"), [(64, 0.04), (128, 0.07), (256, 0.19)])
def test_what_a_step_takes_beside_its_pictures_does_not_grow_with_their_size(size, seconds):
    net = Config(weights="hub", batch=32, size=size)
    speed = at_own_size(Speed(train=32 / 0.07, predict=400.0, step=0.03), net)
    assert speed.train == pytest.approx(32 / seconds)
    assert speed.predict == pytest.approx(400.0 * (128 / size) ** 2)
    assert at_own_size(Speed(train=32 / 0.07, predict=400.0), net).train == pytest.approx(32 / 0.07 * (128 / size) ** 2)


def test_reading_that_takes_long_makes_a_net_slower_and_its_size_smaller():
    slow = situation(side=256, budget=3600.0, reading=lambda size, preprocess, grid: 0.02 if size > 96 else 0.0)
    config = Config(backbone="resnet18", size=128)
    plain = speed_of(config, situation()).train
    assert speed_of(config, slow).train == pytest.approx(1 / (1 / plain + 0.02))
    assert speed_of(config.vary(size=96), slow) == speed_of(config.vary(size=96), situation())
    card = replace(slow, device="cuda", measure=situation(device="cuda").measure)
    assert speed_of(config, card).train == min(50.0, speed_of(config, situation(device="cuda")).train)
    assert with_size(config, slow, 8000.0).size == 96 < with_size(config, situation(side=256), 8000.0).size


def test_small_pictures_are_enlarged_for_pretrained_nets_where_rows_are_few():
    tuned = Config(backbone="convnext_tiny.in12k_ft_in1k", weights="hub")
    assert max(sizes_for(tuned, situation(side=64, rows=3000))) == 224
    assert max(sizes_for(tuned, situation(side=96, rows=220_000))) == 96
    assert max(sizes_for(Config(), situation(side=64))) == 64


@given(
    side=st.integers(20, 600),
    rows=st.integers(200, 50_000),
    seconds=st.floats(10, 20_000),
    weights=st.sampled_from(["", "hub"]),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_a_pretrained_net_that_is_sound_at_some_size_sees_more_pixels_while_epochs_are_enough(
    side, rows, seconds, weights, device
):
    s = situation(side=side, rows=rows, device=device)
    times = 1.5 if device == "cpu" else 1.0  # a full net that a processor trains in place of its top
    net = Config(backbone="convnext_tiny.in12k_ft_in1k", weights=weights)
    sound = with_size(net, s, seconds)
    config = with_pixels(sound, s, seconds)
    assert config.vary(size=sound.size) == sound
    if config.size != sound.size:
        assert weights
        assert sound.size < config.size <= min(224, max(1.3 * side, 160))
        assert epochs_paid(seconds, config, s) >= times * epochs_for("enough", config, s)
    larger = [net.vary(size=n) for n in sizes_for(net, s) if config.size < n <= pixels_first(net, s)]
    assert not any(epochs_paid(seconds, c, s) >= times * epochs_for("enough", c, s) for c in larger)
    assert with_pixels(sound, replace(s, space=SearchSpace(start={"size": sound.size})), seconds) == sound


def test_all_of_a_net_trains_on_a_processor_from_more_than_enough_epochs_at_128_px_on():
    s = on_two_cores(side=150, rows=5000)
    net = Config(backbone="resnet18", weights="/nets/resnet18", size=96)
    whole, top = net.vary(size=128), with_top(net.vary(size=128), s)
    needed = 5 * fold_seconds(1.5 * epochs_for("enough", whole, s), whole, s)
    assert epochs_for("sound", whole, s) > 1.5 * epochs_for("enough", whole, s)
    [config] = chosen([[net]], 1, 1.02 * needed, "sound", s)
    assert (config.top, config.size) == (0, 128)
    [config] = chosen([[net]], 1, 0.98 * needed, "sound", s)
    assert (config.top, config.size > 128) == (top.top, True)
    [config] = chosen([[net]], 1, 40 * needed, "sound", s)
    assert epochs_paid(40 * needed, config, s) >= epochs_for("sound", config, s)
    assert (config.top, config.size >= 160) == (0, True)


def test_a_net_that_was_compared_at_several_sizes_keeps_its_own_however_much_time_there_is():
    s = situation(side=500, rows=2000)
    fresh = Config(backbone="convnext_tiny.in12k_ft_in1k", weights="hub", size=128)
    for time in (3_000.0, 30_000.0, 300_000.0):
        [grown] = chosen([[fresh]], 1, time, "enough", s)
        [same] = chosen([[fresh.vary(seconds=30.0)]], 1, time, "enough", s, settled={fresh.backbone})
        assert same.size <= 128 <= grown.size
    assert same.size < grown.size


def test_a_net_from_scratch_counts_as_a_kind_wherever_it_is_tried_beside_pretrained_ones():
    for device, budget in (("cpu", HOUR), ("cuda", 300.0), ("cuda", HOUR)):
        s = situation(device=device, budget=budget, pretrained=LOCAL)
        assert kinds_at_hand(s) == 3 + len(from_nothing(History(), s))


def test_a_net_of_one_size_is_sound_by_its_epochs_alone():
    s = situation(side=500, rows=20_000, device="cuda")
    free = Config(backbone="convnext_tiny.in12k_ft_in1k", weights="hub", size=224)
    fixed = Config(backbone="swin_small_patch4_window7_224.ms_in22k_ft_in1k", weights="hub", size=224)
    assert sound_at_its_size(free, s) == epochs_for("enough", free, s)
    assert sound_at_its_size(fixed, s) == epochs_for("sound", fixed, s) > epochs_for("enough", fixed, s)
    assert not soundly(fold_seconds(5.0, fixed, s), fixed, s)
    asked = replace(s, space=SearchSpace(start={"size": 224}))
    assert sound_at_its_size(free, asked) == epochs_for("sound", free, asked)


@pytest.mark.parametrize("gigabytes", [16.0, 0.5, 0.2])
def test_more_pixels_are_for_nets_that_fit_the_memory_there(gigabytes):
    def measure(config):
        return replace(speed(config), fixed_bytes=1e8, picture_bytes=2e7)  # at 128 px

    s = situation(side=300, pretrained=LOCAL, measure=measure, memory_gb=gigabytes)
    net = Config(backbone="resnet18", weights="/nets/resnet18", size=96)
    config = with_pixels(net, s, 20_000.0)
    assert config == net or fits_memory(config, s)
    assert config.size == {16.0: 224, 0.5: 160, 0.2: 96}[gigabytes]


def test_the_top_of_a_net_sees_pictures_of_a_size_whose_features_the_disk_takes():
    net = Config(backbone="resnet18", weights="/nets/resnet18")
    for gigabytes, size in ((3.0, 224), (0.3, 128)):
        s = on_two_cores(side=300, pixel_bytes=1e9 * gigabytes)
        top = with_top(net, s)
        assert with_pixels(top.vary(size=96), s, 20_000.0).size == size
        assert kept_bytes(with_size(top, s, 20_000.0), s) <= s.pixel_bytes
    assert with_top(net, replace(s, pixel_bytes=1e8)) is None


def test_more_stages_train_where_the_time_pays_for_sound_epochs_of_them():
    asked = []

    def measure(config):
        asked.append(config.top)
        return Speed({2: 500.0, 4: 200.0}.get(config.top, 50.0), 1000.0)

    s = situation(rows=5000, side=32, pretrained=BOXED, measure=measure)
    net = Config(backbone="tf_efficientnet_lite0", weights="box", size=128, top=2, tta="flip")
    sound = 5 * fold_seconds(epochs_for("sound", net, s), net.vary(top=4), s) + trunk_seconds(net.vary(top=4), s)
    asked.clear()
    assert with_deeper_top(net, s, sound + 1).top == 4
    assert with_deeper_top(net, s, 0.9 * sound).top == 2
    asked.clear()
    assert with_deeper_top(net, s, 0.3 * sound).top == 2
    assert set(asked) <= {0, 2}  # the deeper one's speed was not measured, which takes seconds
    assert with_deeper_top(net.vary(top=0), s, 10 * sound).top == 0  # the complete net
    assert with_deeper_top(net, replace(s, space=SearchSpace(start={"top": 2})), 10 * sound).top == 2
    assert with_deeper_top(net, replace(s, pixel_bytes=1e6), 10 * sound).top == 2
    assert with_deeper_top(Config(backbone="resnet18", weights="hub", top=1), s, 10 * sound).top == 1


def test_a_plan_measures_no_net_at_a_size_that_it_was_not_made_for():
    sizes = set()

    def measure(config):
        sizes.add(config.size)
        return speed(config, "cuda")

    eva = Config(backbone="eva02_small_patch14_336.mim_in22k_ft_in1k", weights="hub", size=224)
    finalist_epochs(eva, situation(**{**CARD, "measure": measure}))
    assert sizes <= set(net_named(eva.backbone).sizes)


def test_a_processor_compares_nets_that_it_trains_soundly_on_the_one_holdout_of_very_many_rows():
    net, s = Config(backbone="resnet18", size=64), situation(rows=220_000, folds=10, pretrained=(), budget=HOUR)
    rate = 1.2 * epochs_for("sound", net, s) * rows_of_fold(s) / final_seconds(s)
    assert comparable(net, replace(s, measure=lambda config: Speed(rate, 100 * rate)))
    assert not comparable(net, replace(s, measure=lambda config: Speed(rate / 2, 50 * rate)))


@pytest.mark.parametrize("side", [32, 100, 500])
def test_a_net_is_not_thought_to_be_sound_at_a_size_that_no_plan_trains_it_at(side):
    for device in ("cpu", "cuda"):
        s = situation(side=side, device=device, pretrained=LOCAL)
        assert [net.backbone for net in candidates(s) if least_size(net, s) not in sizes_for(net, s)] == []


@pytest.mark.parametrize(("rows", "folds"), [(500, 5), (100_000, 5), (220_000, 10), (1_700_000, 20)])
def test_very_many_rows_need_one_small_holdout(rows, folds):
    assert folds_for(rows) == folds
    assert folds_of(situation(rows=rows, folds=folds)) == (5 if rows <= 100_000 else 1)


def test_a_batch_is_halved_until_the_card_holds_it():
    config = Config(backbone="convnext_base.fb_in22k_ft_in1k", weights="hub", size=384, batch=64)
    small = within_memory(config, situation(memory_gb=16.0))
    assert small.batch < 64
    assert memory_gb(small) <= 16.0
    assert within_memory(config, situation()) == config


def test_memory_is_planned_from_what_the_probe_measured():
    def measure(config):
        return replace(speed(config), fixed_bytes=1e9, picture_bytes=10e6)  # at 64 px

    s = situation(measure=measure, memory_gb=4.0)
    config = Config(backbone="resnet18", size=128, batch=64)
    assert memory_for(config, s) == pytest.approx(1 + 64 * 0.04)
    assert memory_for(config.vary(scales=(0.5, 1.5)), s) == pytest.approx(1 + 64 * 0.09)
    assert memory_for(config.vary(ema=0.9), s) > memory_for(config, s)
    assert within_memory(config, s).batch == 32  # 3.56 GB are more than .85 of 4
    assert within_memory(config.vary(size=64), s).batch == 64
    assert within_memory(config, replace(s, memory_gb=0.1)).batch == 8
    assert fits_memory(config.vary(train="features"), replace(s, memory_gb=0.1))


def test_every_finished_trial_corrects_what_its_net_and_others_will_cost():
    s = situation()
    net = Config(backbone="resnet18", size=64, seconds=10.0)
    planned = speed_of(net, s).train
    half = replace(trial(net), facts={"img_s": planned / 2})
    known = corrected(History([half]), s)
    assert speed_of(net, known).train == pytest.approx(planned / 2)
    other = net.vary(backbone="resnet34")
    assert speed_of(other, known).train == pytest.approx(speed_of(other, s).train / 2)
    assert epochs_in(100.0, net, known) < epochs_in(100.0, net, s)
    mixed = replace(trial(net.vary(sizes=(32, 48))), facts={"img_s": 9 * planned})
    assert corrected(History([mixed]), s) is s, "pictures of several sizes say nothing of one"
    absurd = replace(trial(net), facts={"img_s": 100 * planned})
    assert speed_of(net, corrected(History([absurd]), s)).train <= 3 * planned


def test_how_far_planned_speeds_were_off_is_the_median_of_the_trials_and_their_range():
    s = situation()
    net = Config(backbone="resnet18", size=64, seconds=10.0)
    speeds = [speed_of(net, s).train * ratio for ratio in (0.5, 0.8, 1.1)]
    trials = [replace(trial(net.vary(seed=i)), facts={"img_s": img_s}) for i, img_s in enumerate(speeds)]
    words = speed_words(History(trials), s)
    assert "0.80" in words
    assert "0.50 to 1.10 in 3 trials" in words
    assert speed_words(History(), s) == ""


def test_of_many_trials_it_is_also_said_what_nine_of_ten_keep_within():
    ratios = [1.0, 1.1, 0.9, 1.2, 0.8, 1.0, 1.05, 0.95, 1.25, 3.0]
    net = Config(backbone="resnet18", seconds=10.0)
    trials = [replace(trial(net.vary(seed=i), seconds=10 * r), facts={"planned_s": 10.0}) for i, r in enumerate(ratios)]
    assert seconds_words(History(trials)).endswith("0.80 to 3.00 in 10 trials, nine of ten within 25%")
    assert seconds_words(History(trials[:9])).endswith("0.80 to 1.25 in 9 trials")


# --- the top alone ----------------------------------------------------------------------------------------------------


def on_two_cores(**changes):
    """A processor on which the top of a net trains six times as fast as the whole of it."""

    def measure(config: Config) -> Speed:
        full_speed = speed(config)
        return (
            replace(full_speed, train=6 * full_speed.train, predict=6 * full_speed.predict)
            if config.top
            else full_speed
        )

    return situation(**{"pretrained": LOCAL[1:2], "rows": 2500, "answered": 1000, "measure": measure, **changes})


def finalists_of(s) -> list[Config]:
    history = History()
    configs = [config for batch in finalists(history, s) for config in batch]
    return configs


def test_where_the_whole_net_cannot_be_trained_soundly_its_top_is_on_all_folds():
    s = on_two_cores(budget=300.0)
    [config] = finalists_of(s)
    assert (config.top, config.backbone, len(config.folds)) == (1, "resnet18", 5)
    assert config.tta in ("none", "flip")
    assert 5 * config.seconds <= s.left()
    check(config, s)


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 300.0, "device": "cuda", "measure": lambda config: speed(config, "cuda")},
        {"budget": 300.0, "pretrained": ()},
        {"budget": 300.0, "pixel_bytes": 1e6},
        {"budget": 300.0, "space": SearchSpace(start={"top": 0})},
        {"budget": 300.0, "space": SearchSpace(tta=["dihedral"])},
    ],
    ids=["a card", "from scratch", "no disk", "top of the user", "views of the user"],
)
def test_nets_are_trained_whole_where_their_top_alone_cannot_be(changes):
    assert {config.top for config in finalists_of(on_two_cores(**changes))} == {0}


def test_in_hours_a_net_is_trained_whole_beside_its_top():
    configs = finalists_of(on_two_cores(budget=4 * HOUR))
    assert {config.top for config in configs if config.weights} == {0, 1}


def test_what_is_kept_already_costs_no_second_pass():
    s = on_two_cores()
    config = Config(backbone="resnet18", weights="/nets/resnet18", size=96, top=1, tta="flip", seconds=20.0)
    assert trunk_seconds(config.vary(top=0), s) == 0
    seconds = trunk_seconds(config, s)
    assert seconds > 0
    features = config.vary(train="features", seconds=0.0, tta="none")
    known = with_kept(History([trial(features)]), s)
    assert 0 < trunk_seconds(config, known) < 0.6 * seconds
    assert trunk_seconds(config.vary(size=128), known) > seconds
    assert trunk_seconds(config.vary(seed=3, lr=1.0), with_kept(History([trial(config)]), s)) == 0


def test_weights_of_the_hub_are_downloaded_once_whatever_uses_them_first():
    s = situation(**CARD)
    [net] = [c for c in candidates(s) if c.backbone.startswith("swin_large_patch4_window7")]
    net = net.vary(size=224, seconds=60.0, folds=(0, 1))
    frozen = frozen_net({"backbone": net.backbone, "weights": "hub", "model_args": {}}, 224, s)
    download = 4e6 * net_named(net.backbone).parameters / DOWNLOAD
    assert download > 30
    for first in (net, frozen):
        known = with_kept(History([trial(first)]), s)
        for other in (net.vary(seed=1), frozen.vary(size=256)):
            assert full_cost(other, known) == full_cost(other, s)
            warm = replace(known, warm=(), on_disk=(), kept={})
            assert cost_of(other, s) - cost_of(other, warm) == pytest.approx(download)
    assert cost_of(net.vary(weights="box"), s) == cost_of(net, with_kept(History([trial(frozen)]), s))


def test_a_net_that_cannot_be_cut_is_trained_whole():
    config = Config(backbone="resnet18", weights="box", top=1, seconds=5.0)
    failed = replace(trial(config, status="failed"), facts={"fault": "unbuildable"})
    assert instead_of(failed, History([failed]), situation()) == config.vary(top=0)


def with_features(s, score):
    every = tuple(range(s.folds))
    frozen = frozen_net(BOXED[0], 128, s)
    net = Config(backbone="resnet10t", seconds=40.0, folds=every)
    return History([replace(trial(frozen), score=score), replace(trial(net, "finalists"), score=0.8)])


def test_where_frozen_features_lead_what_is_left_goes_to_hand_made_ones_then_to_other_nets():
    s = situation(budget=300.0, pretrained=BOXED, left=lambda: 200.0)
    history = with_features(s, 0.9)
    first = next(PLAN["rest"](history, s))[0]
    assert (first.train, first.backbone, first.weights) == ("features", "patches", "")
    history.add(trial(first))
    second = next(PLAN["rest"](history, s))[0]
    assert (second.train, second.backbone, second.size) == ("features", "tf_efficientnet_lite2", 128)
    minute = situation(budget=60.0, pretrained=BOXED, left=lambda: 20.0)
    assert next(PLAN["rest"](with_features(minute, 0.9), minute))[0].backbone == "gradients"


def test_where_nets_lead_they_are_trained_again_over_all_folds_or_features_fill_the_time():
    nets_lead = with_features(situation(pretrained=BOXED), 0.7)
    s = situation(budget=HOUR, pretrained=BOXED, left=lambda: 1800.0)
    again = next(PLAN["rest"](nets_lead, s))[0]
    assert (again.train, again.folds, again.seed) == ("net", (0, 1, 2, 3, 4), 100)
    s = situation(budget=300.0, pretrained=BOXED, left=lambda: 120.0)
    filling = next(PLAN["rest"](nets_lead, s))[0]
    assert filling.train == "features"
    assert filling.folds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("left", [40.0, 1.0, 0.0])
@pytest.mark.parametrize("rate", [50.0, 200.0, 5_000.0])
def test_a_net_for_whose_pictures_the_time_went_asks_for_no_less_than_none(left, rate):
    now = {"left": 110.0}
    s = situation(budget=140.0, rows=200, pretrained=BOXED, left=lambda: now["left"])
    s = replace(s, prepare=lambda config: now.update(left=left), measure=lambda config: Speed(rate, 3 * rate))
    config = lone_net(with_features(s, 0.9), s)
    assert config is not None
    assert config.seconds >= 1
    assert config.seconds * len(config.folds) <= max(left, 1.0)
    assert (len(config.folds) == 5) == (left == 40 and rate == 5_000)


def test_no_time_is_filled_with_what_is_known_or_must_be_downloaded():
    s = situation(budget=300.0, pretrained=tuple({**row, "weights": "hub"} for row in BOXED), left=lambda: 60.0)
    history = History([replace(trial(frozen_net(BOXED[0], 128, s).vary(weights="hub")), score=0.9)])
    for _ in range(20):
        config = fill(history, s, 60.0)
        if config is None:
            break
        assert not config.weights or config.backbone == BOXED[0]["backbone"]
        assert config.key not in {t.key for t in history.trials}
        history.add(trial(config))
    assert config is None


# --- what finished trials say of costs --------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "second"), [(0.2, "convnext"), (0.01, "resnet"), (-0.2, "resnet")])
def test_a_net_too_slow_to_compare_is_a_finalist_early_where_its_frozen_features_are_clearly_better(gain, second):
    draw = np.random.default_rng(0)
    hard = draw.gamma(2.0, 0.5, 2000)
    gains = {"convnext_nano.in12k_ft_in1k": gain}
    noise = {row["backbone"]: draw.normal(0, 0.3, 2000) for row in with_hub("cpu", BOXED)}

    def row_losses(t: Trial) -> np.ndarray:
        frozen = t.config.train == "features"
        loss = hard * (1 - gains.get(t.config.backbone, 0.0) * frozen) + noise[t.config.backbone]
        return loss if frozen else np.where(np.arange(2000) % 5 == 0, loss, np.nan)

    s = situation(pretrained=with_hub("cpu", BOXED), budget=4 * HOUR, row_losses=row_losses)
    history = History([trial(frozen_net(row, 128, s)) for row in s.pretrained])
    base = Config(backbone="mobilenetv3_large_100.ra_in1k", weights="hub", size=160, seconds=90.0, predict_test=False)
    history.add(trial(base, "baseline"))
    history.add(trial(base.vary(backbone="resnet18.a1_in1k"), "backbone"))
    heads = [net_named(head[0].backbone).family for head in family_heads(history, s)]
    assert heads[:2] == ["mobilenet", second]


def test_features_that_are_there_cost_their_head_alone():
    s = situation(pretrained=BOXED)
    frozen = frozen_net(BOXED[0], 128, s)
    known = with_kept(History([trial(frozen)]), s)
    other_head = frozen.vary(head="linear")
    assert cost_of(other_head, known) == head_seconds(other_head, 5, s) < 0.1 * cost_of(other_head, s)
    assert cost_of(other_head.vary(size=160), known) == cost_of(other_head.vary(size=160), s)
    assert full_cost(other_head, known) == cost_of(other_head, s), "a replay plans with what it takes from nothing"


def test_features_above_a_kept_cut_cost_less_than_from_pictures_and_both_less_than_to_keep_them():
    s = situation(pretrained=BOXED, budget=300.0)
    frozen = frozen_net(BOXED[0], 128, s, tta="flip")
    known = with_kept(History([trial(frozen)]), s)
    one_view = frozen.vary(tta="none")
    assert frozen.top
    assert cost_of(one_view, known) < 0.5 * cost_of(one_view.vary(top=0), s) < 0.5 * cost_of(one_view, s)
    assert full_cost(one_view, known) == full_cost(one_view, s)
    seen = with_kept(History([trial(one_view)]), s)
    assert cost_of(one_view, s) < cost_of(frozen, seen) < cost_of(frozen, s), "one view of two is kept"


def test_pictures_that_were_not_decoded_cost_their_decoding_more_of_larger_ones_and_for_larger_sizes():
    s = situation(pretrained=BOXED)
    frozen = frozen_net(BOXED[0], 128, s)
    known = with_kept(History([trial(frozen)]), s)
    assert decoding_of(frozen, known) == decoding_of(frozen.vary(size=64), s) == 0
    for other in (frozen.vary(size=160), frozen.vary(preprocess="trim"), frozen.vary(size=64, preprocess="trim")):
        assert decoding_of(other, known) == decoding_seconds(s, 2, other.size) > 0
    wide = frozen.vary(size=160)
    assert decoding_of(wide, replace(known, cores=8)) == pytest.approx(decoding_of(wide, known) / 4)
    assert decoding_seconds(s, 2, 64) < decoding_seconds(s, 2, 224) < decoding_seconds(replace(s, side=500), 2, 224)
    assert decoding_seconds(s, 4, 64) == decoding_seconds(s, 2, 64) / 2


def test_heads_on_few_rows_take_next_to_no_time():
    kernel, linear = (Config(train="features", head=head) for head in ("kernel", "linear"))
    few, many = situation(rows=250), situation(rows=5000)
    assert head_seconds(linear, 5, few) < head_seconds(kernel, 5, few) < 1
    assert 3 < head_seconds(linear, 5, many) < 0.5 * head_seconds(kernel, 5, many)


def test_heads_are_corrected_by_what_they_took_and_features_by_the_rest_of_their_trial():
    s = situation(pretrained=BOXED, rows=5000)
    frozen, other = (frozen_net(row, 128, s) for row in BOXED)
    head = head_seconds(frozen, 1, s)
    seconds = full_cost(frozen, s) - 0.6 * 5 * head + decoding_of(frozen, s)  # features take what was planned
    known = corrected(
        History([trial(Config(seconds=1.0)), replace(trial(frozen, seconds=seconds), facts={"head_s": 0.4 * head})]), s
    )
    assert head_seconds(other, 5, known) == pytest.approx(0.4 * head_seconds(other, 5, s))
    linear = other.vary(head="linear")
    assert head_seconds(linear, 5, known) == head_seconds(linear, 5, s), "a kernel head says little of a linear one"
    features = [full_cost(other, where) - head_seconds(other, 5, where) for where in (known, s)]
    assert features[0] == pytest.approx(features[1])
    elsewhere = replace(trial(frozen, seconds=seconds), facts={"head_s": 0.4 * head, "hardware": "another machine"})
    assert corrected(History([trial(Config(seconds=1.0)), elsewhere]), s) is s


def test_frozen_features_correct_what_others_will_cost_and_trainings_do_not():
    s = situation(pretrained=BOXED)
    frozen, other = (frozen_net(row, 128, s) for row in BOXED)
    net = Config(backbone="resnet18", size=64, seconds=10.0)

    def beside(config):
        return head_seconds(config, 5, s) + ready_seconds(config, s)

    slow = trial(frozen, seconds=2 * full_cost(frozen, s) - beside(frozen) + decoding_of(frozen, s))
    assert corrected(History([slow]), s) is s, "the first of all waits for imports"
    first = trial(Config(seconds=1.0))
    known = corrected(History([first, slow]), s)
    assert full_cost(other, known) - beside(other) == pytest.approx(2 * (full_cost(other, s) - beside(other)))
    assert speed_of(net, known) == speed_of(net, s)
    again = trial(frozen.vary(head="linear"), seconds=1.0)  # from the cache: it says nothing of the net's speed
    assert full_cost(other, corrected(History([first, slow, again]), s)) == full_cost(other, known)
    of_the_head = trial(frozen, seconds=beside(frozen) + decoding_of(frozen, s) + 0.1)
    assert corrected(History([first, of_the_head]), s) is s, "what is hardly longer than its head says little"
    large = replace(s, side=2000)
    decoded = trial(frozen, seconds=3 * decoding_of(frozen, large) + full_cost(frozen, s))
    assert corrected(History([first, decoded]), large) is large, "and so does what took long to decode"


# --- what a card takes to get ready ----------------------------------------------------------------------------------


def test_a_card_gets_ready_once_for_each_shape_and_a_processor_never():
    def cold(config):
        return replace(speed(config, "cuda"), cold=3.0)

    s = situation(device="cuda", measure=cold)
    ready = situation(device="cuda")
    base = Config(backbone="resnet18", size=128, seconds=8.0, folds=(0,))
    looked_at = base.vary(size=64)  # as the probe saw it
    assert cost_of(base, s) == cost_of(base, ready) + 3.0
    assert cost_of(looked_at, s) == cost_of(looked_at, ready)
    assert cost_of(base.vary(sizes=(32, 96)), s) == cost_of(base.vary(sizes=(32, 96)), ready) + 9.0
    features = base.vary(train="features", weights="hub", seconds=0.0, size=224)
    assert cost_of(features, s) == pytest.approx(cost_of(features, ready) + 1.0)
    assert full_cost(base, with_kept(History((Trial(base, "s", "done", 0.5, 0.1, 9.0),)), s)) == cost_of(base, s)
    known = with_kept(History((Trial(base, "s", "done", 0.5, 0.1, 9.0),)), s)
    assert cost_of(base.vary(policy="medium"), known) == cost_of(base, ready)
    on_a_processor = situation(measure=cold), situation(measure=lambda config: speed(config, "cuda"))
    assert cost_of(base, on_a_processor[0]) == cost_of(base, on_a_processor[1])
