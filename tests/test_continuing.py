"""A training goes on from a shorter one's net of the same fold, and begins anew where that cannot be."""

import numpy as np
import pytest
from nets import CPU
from safetensors.torch import load_file
from test_training import TINY, material_of

from autoclimb.arrays import read_predictions
from autoclimb.disk import read_json, write_json
from autoclimb.learn.continuing import Begun, begun_before, rest_of
from autoclimb.learn.trial import run_trial
from autoclimb.run import store
from autoclimb.types import Config

SHORT = TINY.vary(epochs=2.0, folds=(0,))
STEPS = 4  # of it


def trained(folder, config: Config, **how) -> dict:
    """The reply of a trial whose files lie as a run's do."""
    out, nets = store.trial_folder(folder, config), store.nets_folder(folder, config)
    return run_trial(config, material_of(), out, nets, folder, CPU, **how)


def net_of(folder, config: Config, fold: int = 0) -> dict:
    return load_file(store.nets_folder(folder, config) / f"fold{fold}.safetensors")


def longer(epochs: float = 6.0, **changes) -> Config:
    return SHORT.vary(epochs=epochs, continues=SHORT.nets_key, **changes)


def test_only_the_rest_is_trained(tmp_path):
    trained(tmp_path, SHORT)
    reply = trained(tmp_path, longer())
    assert (reply["status"], reply["note"]) == ("done", "")
    assert reply["facts"]["steps_before"] == STEPS
    assert reply["facts"]["steps"] == 2 * STEPS
    assert not np.array_equal(net_of(tmp_path, SHORT)["fc.weight"], net_of(tmp_path, longer())["fc.weight"])


def test_with_nothing_left_to_train_the_net_is_the_shorter_trainings(tmp_path):
    trained(tmp_path, SHORT)
    trained(tmp_path, longer(epochs=2.0))
    before, after = net_of(tmp_path, SHORT), net_of(tmp_path, longer(epochs=2.0))
    assert all(
        np.array_equal(before[name], after[name]) for name in before if name.endswith(("conv1.weight", "fc.bias"))
    )


def test_it_may_go_on_more_than_once(tmp_path):
    trained(tmp_path, SHORT)
    trained(tmp_path, longer())
    third = longer().vary(epochs=10.0, continues=longer().nets_key)
    facts = trained(tmp_path, third)["facts"]
    assert (facts["steps_before"], facts["steps"]) == (3 * STEPS, 2 * STEPS)


def test_going_on_is_repeated_to_the_bit(tmp_path):
    predictions = []
    for name in "ab":
        trained(tmp_path / name, SHORT)
        trained(tmp_path / name, longer())
        predictions.append(np.asarray(read_predictions(store.trial_folder(tmp_path / name, longer()) / "oof")))
    np.testing.assert_array_equal(*predictions)


def test_a_fold_that_the_shorter_training_did_not_see_is_trained_from_its_beginning(tmp_path):
    trained(tmp_path, SHORT)
    config = longer(folds=(0, 1))
    assert trained(tmp_path, config)["note"] == ""
    first, second = (read_json(store.nets_folder(tmp_path, config) / f"fold{fold}.json") for fold in (0, 1))
    assert (first["steps"], second["steps"]) == (2 * STEPS, 3 * STEPS)
    assert "steps_before" not in second


def without_net(folder):
    (store.nets_folder(folder, SHORT) / "fold0.safetensors").unlink()


def with_torn_net(folder):
    path = store.nets_folder(folder, SHORT) / "fold0.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def with_other_net(folder):
    other = SHORT.vary(model_args=(("channels", (4, 4, 4, 4)),))
    trained(folder, other)
    store.nets_folder(folder, SHORT).joinpath("fold0.safetensors").write_bytes(
        store.nets_folder(folder, other).joinpath("fold0.safetensors").read_bytes()
    )


@pytest.mark.parametrize(
    ("harm", "reason"), [(without_net, "gone"), (with_torn_net, "cannot be read"), (with_other_net, "another one")]
)
def test_without_a_net_that_fits_the_training_begins_anew_and_says_so(tmp_path, harm, reason):
    trained(tmp_path, SHORT)
    harm(tmp_path)
    reply = trained(tmp_path, longer())
    assert reply["status"] == "done"
    assert reason in reply["note"]
    assert reply["facts"]["steps"] == 3 * STEPS


def test_a_training_that_is_not_there_at_all_is_said_too(tmp_path):
    assert "gone" in trained(tmp_path, longer())["note"]


def test_seconds_that_were_spent_before_are_not_spent_again(tmp_path, monkeypatch):
    from autoclimb.learn import trial

    trained(tmp_path, SHORT)
    record = store.nets_folder(tmp_path, SHORT) / "fold0.json"
    write_json(record, {**read_json(record), "train_s": 3.0})
    config = longer(folds=(0, 1)).vary(epochs=0.0, seconds=10.0)
    assert store.seconds_before(tmp_path, config) == 3.0
    now, given = [0.0], []

    def fold(config, seconds, material, fold, out, format):
        given.append(seconds)
        now[0] += seconds - (begun_before(config, out, fold.number) or Begun()).seconds
        return np.zeros((len(fold.valid_rows), 2)), np.zeros((len(material.test_rows), 2)), {}

    monkeypatch.setattr("autoclimb.learn.fold.run_fold", fold)
    assert (
        trial.run_trial(
            config,
            material_of(),
            tmp_path / "out",
            store.nets_folder(tmp_path, config),
            tmp_path,
            CPU,
            now=lambda: now[0],
        )["status"]
        == "done"
    )
    assert given == [10.0, 10.0]
    assert now[0] == 17.0
    assert store.seconds_before(tmp_path, config) == 0.0


def test_a_config_that_continues_nothing_was_not_trained_before(tmp_path):
    assert begun_before(SHORT, tmp_path / "nets" / "x", 0) is None
    assert store.seconds_before(tmp_path, SHORT) == 0.0


def test_the_rest_is_warmed_up_shortly_and_sees_the_pictures_in_another_order():
    rest = rest_of(longer(unfreeze=0.3))
    assert (rest.schedule, rest.unfreeze) == ("cosine", 0.0)
    assert rest.seed != SHORT.seed
    assert rest_of(SHORT.vary(schedule="linear")).schedule == "linear"
