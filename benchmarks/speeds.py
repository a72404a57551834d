"""The speeds of nets on one quiet machine, rates.json, from which replays take their seconds."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lab import opened
from record import commit

from autoclimb import Config
from autoclimb.contest.machine import hardware
from autoclimb.search.cost import at_own_size, measured
from autoclimb.search.nets import deeper_top_of, fine_tuning, from_box, from_scratch, top_of
from autoclimb.search.rates import DEVICES, speed_on
from autoclimb.search.situation import Speed

PROCESSOR = DEVICES["cpu"]  # of a situation: two cores
LOOKS = 5  # at a net's speed, the fastest of which was least disturbed

Measure = Callable[[Config], Speed]


def speed_key(config: Config) -> str:
    """What a net's speed depends on beside size and batch, as a line of rates.json."""
    return f"{config.train} {config.backbone} {dict(config.model_args)}" + (f" top {config.top}" if config.top else "")


def nets_to_measure() -> list[Config]:
    """Every net whose speed a plan of our solvers may ask for: from scratch, and whole ones, both tops and features."""
    tuned = fine_tuning(from_box(), "cpu")
    tops = [net.vary(top=depth(net.backbone)) for depth in (top_of, deeper_top_of) for net in tuned]
    return [measured(net) for net in (*from_scratch("cpu"), *tuned, *tops, *(n.vary(train="features") for n in tuned))]


def measure_rates(
    suite: Path, name: str, work: Path, known: dict[str, Any], configs: Sequence[Config]
) -> dict[str, Any]:
    """This machine and pictures a second of the configs' nets there: the fastest of several looks, `known` included."""
    machine = hardware()
    if known and known["machine"] != machine:
        raise SystemExit(f"rates.json is of {known['machine']}, this is {machine}; delete it to measure every net here")
    best: dict[str, Any] = dict(known.get("nets", {}))
    with opened(suite, name, work / name) as lab:
        for _ in range(LOOKS):
            for config in configs:
                lab.speeds.clear()
                reply = lab.speed_of(config, 0.8)
                best[speed_key(config)] = better(best.get(speed_key(config), {}), reply)
    return {"machine": machine, "commit": commit(), "nets": best}


def better(row: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """A net's row of rates.json after one more look: what the fastest said, of training and of predicting."""
    train, predict = (round(max(reply[way], row.get(way, 0.0)), 1) for way in ("train", "predict"))
    step = row["step"] if train == row.get("train") else round(reply.get("step", 0.0), 5)
    return {"train": train, "predict": predict, "step": step}


def measure_of(rates: dict[str, Any]) -> Measure:
    """The speed of a net at any size, all by the rates of one machine, or by a dry run's table where there are none.

    Raises SystemExit for a net that was not measured: another machine's rate beside this one's would favour one net.
    """
    if not rates:
        return lambda config: speed_on(PROCESSOR, config)

    def measure(config: Config) -> Speed:
        row = rates["nets"].get(speed_key(config))
        if row is None:
            raise SystemExit(f"rates.json has no line for {speed_key(config)!r}; measure it with bank.py rates")
        return at_own_size(Speed(row["train"], row["predict"], step=row["step"]), config)

    return cache(measure)


def words_of_rates(rates: dict[str, Any]) -> str:
    """Where the seconds of a replay come from."""
    if not rates:
        return f"seconds by a dry run's table: {PROCESSOR.name}, {PROCESSOR.source}"
    return f"seconds by rates.json: {rates['machine']}, commit {rates['commit']}"
