"""What a run's trials are made with is on record, and a run that goes on with something else says so."""

import numpy as np
import pytest

from autoclimb.errors import Mistake
from autoclimb.run.checks import check_folds
from autoclimb.run.setup import equipment_changes, equipment_of

HERE = {"device": "cpu", "threads": 2, "torch": "2.15.0", "name": "AMD EPYC"}
NETS = ({"backbone": "resnet18", "weights": "hub"}, {"backbone": "swin", "weights": "/w"})


def test_versions_hardware_and_nets_are_on_record():
    equipment = equipment_of(HERE, NETS)
    assert {"python", "torch", "timm", "numpy"} <= set(equipment["versions"])
    assert equipment["hardware"] == "2 threads of AMD EPYC, torch 2.15.0"
    assert equipment["nets"] == ["resnet18 (hub)", "swin (/w)"]


def test_a_run_that_goes_on_as_it_began_says_nothing():
    equipment = equipment_of(HERE, NETS)
    assert equipment_changes({}, equipment) == []
    assert equipment_changes({**equipment, "fingerprint": {"seed": 0}}, equipment) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hardware": "Tesla T4, torch 2.15.0"}, "begun with hardware Tesla T4 and goes on with 2 threads of AMD EPYC"),
        (
            {"versions": {"torch": "2.14.0"}, "hardware": "2 threads of AMD EPYC, torch 2.14.0"},
            "begun with torch 2.14.0 and goes on with ",
        ),
        (
            {"hardware": "2 threads of Intel Xeon, torch 2.15.0"},
            "begun with hardware 2 threads of Intel Xeon and goes on",
        ),
        ({"nets": []}, "begun with nets none and goes on with resnet18 (hub), swin (/w)"),
        ({"versions": {"timm": "0.9"}}, "begun with timm 0.9 and goes on with "),
    ],
)
def test_a_change_of_equipment_is_named(change, sentence):
    equipment = equipment_of(HERE, NETS)
    (line,) = equipment_changes({**equipment, **change}, equipment)
    assert sentence in line


def test_a_run_whose_rows_were_dealt_otherwise_does_not_go_on(tmp_path):
    fold_of = np.arange(10) % 5
    check_folds(tmp_path, fold_of)
    np.save(tmp_path / "fold_of.npy", fold_of)
    check_folds(tmp_path, fold_of)
    for other in (fold_of[::-1], fold_of[:5]):
        with pytest.raises(Mistake, match="other folds"):
            check_folds(tmp_path, other)
