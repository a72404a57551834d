"""Run: a run directory as people use it from Python."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoclimb.blend.choose import apply_blend, needs_metadata
from autoclimb.config import Config
from autoclimb.data.decoding import Decoding
from autoclimb.data.depth import Ranges, as_ranges
from autoclimb.data.files.formats import PICTURES, stem_of
from autoclimb.data.pixels import build_pixels
from autoclimb.data.read.below import pictures_below
from autoclimb.data.sources import files_of, parts_of, shown
from autoclimb.disk import read_json, with_tuples
from autoclimb.errors import Mistake
from autoclimb.protocol import Hello, Predict
from autoclimb.report.leaderboard import leaderboard_frame
from autoclimb.report.notebook import Plots, notebook_html
from autoclimb.report.submission import write_submission
from autoclimb.run import store
from autoclimb.run.exported import predictions_by_export
from autoclimb.run.exporting import Exported, export_run, trials_of
from autoclimb.run.reporting import has_record, record_of, write_report, write_suspects
from autoclimb.run.worker import Worker, command_of, ends_as_mistakes, log_of
from autoclimb.score.metrics import metric_named
from autoclimb.score.rules import answer
from autoclimb.types import Blend, Event, Form, Metric, Rule, Task, Tell

if TYPE_CHECKING:
    import pandas as pd

LONG_ENOUGH = 24 * 3600.0  # predicting has no budget, but a worker that is silent for a day is dead
DISK_SHARE = 0.5  # of the free disk that decoded new pictures may take as an array; beyond it they are stored as JPEGs


@dataclass(frozen=True, eq=False)
class Run:
    """A run on disk. `score` is the metric's own value, cross-fitted, and `stderr` its standard error."""

    folder: Path
    metric: Metric
    finished: bool
    words: str
    spent: float  # seconds
    task: dict[str, Any] = field(repr=False)
    blend: Blend | None = field(repr=False)
    rule: dict[str, Any] = field(repr=False)

    @property
    def score(self) -> float:
        """The blend's cross-fitted score, NaN where nothing was learned."""
        return self.metric.shown(self.blend.score) if self.blend else float("nan")

    @property
    def stderr(self) -> float:
        """The score's standard error over rows, or over groups of rows."""
        return self.blend.stderr if self.blend else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the score's 95 % interval on new rows, asymmetric where errors are rare but costly."""
        if not self.blend:
            return float("nan"), float("nan")
        low, high = sorted(self.metric.shown(end) for end in self.blend.interval)
        return low, high

    @property
    def submission(self) -> Path:
        """The submission's path; the file does not exist where the data had no test pictures."""
        return self.folder / store.SUBMISSION

    @property
    def oof(self) -> np.ndarray:
        """The blend's out-of-fold predictions `(N, C)` in train-row order, NaN where a member did not predict."""
        return np.asarray(self.finished_blend().oof)

    def finished_blend(self) -> Blend:
        """The blend; raises Mistake where no trial is finished yet."""
        if self.blend is None:
            raise Mistake(f"{self.folder} has no finished trial yet; run fit with a larger budget")
        return self.blend

    def leaderboard(self) -> "pd.DataFrame":
        """Every trial, best first, the blend on top."""
        return leaderboard_frame(store.all_trials(self.folder), self.metric, self.blend)

    def report(self) -> Path:
        """The path of `report.html`, written again: one file that any browser opens. Works while the run goes on.

        On a finished run it adds the maps and augmented examples that there was no time for at the run's end.
        """
        return write_report(self)

    def suspects(self) -> tuple[Path, int]:
        """The path of `suspects.html`, a page to decide about doubtful labels, written again, and their number."""
        return write_suspects(self)

    @property
    def plot(self) -> Plots:
        """The run's matplotlib figures: `run.plot.climb()`, `.lifts()`, `.confusion()`, `.errors()`, `.curves()`."""
        return Plots(record_of(self))

    def _repr_html_(self) -> str | None:
        """The run as a notebook shows it; None, for its repr, where it stopped before its folds were made."""
        return notebook_html(record_of(self)) if has_record(self.folder) else None

    def predict(self, images: str | Path | Sequence[str | Path], tell: Tell | None = None) -> "pd.DataFrame":
        """Answers for other pictures, a folder of them or a list of files, in the submission's columns and cells.

        A blend that was fitted with metadata answers by the linear stacker beneath it, since new pictures come without
        metadata, and notes that. Raises Mistake for unreadable pictures: an answer without a look would mislead.
        """
        import pandas as pd

        files = pictures_of(images)
        p, task = self.predictions(files, tell), self._task_of(files)
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "answers.csv"
            write_submission(task, answer(Rule.from_json(self.rule), p), path, self.metric, p)
            return pd.read_csv(path, dtype={task.form.columns[0]: str}, keep_default_na=False)

    def predictions(self, images: str | Path | Sequence[str | Path], tell: Tell | None = None) -> np.ndarray:
        """The blend's predictions `(M, C)` for other pictures, before a decision is taken; see `predict`.

        On a processor they are those of the exported ONNX file, where there is one and it is faster.
        """
        tell = tell or (lambda event: None)
        blend, files = self.finished_blend(), pictures_of(images)
        trials = trials_of(self)
        if needs_metadata(blend):
            lacking = ", ".join(self.task.get("metadata", ()))
            tell(Event("note", f"answered without the columns that {blend.method} also reads ({lacking})"))
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            by_file = predictions_by_export(self, trials, lambda c: self._pixels_for(c, files, place, tell), tell)
            if by_file is not None:
                return by_file
            return apply_blend(blend, self._members_predictions([t.config for t in trials], files, place, tell))

    def export(
        self,
        format: str = "onnx",
        best: bool = False,
        out: str | Path | None = None,
        images: str | Path | Sequence[str | Path] | None = None,
        tell: Tell | None = None,
    ) -> Exported:
        """The blend, or its best trial alone, written as one file that predicts without autoclimb.

        `format` is "onnx" or "torch" (an exported program, .pt2). `out` is the file, by default in the run's `export`
        folder. It is compared with `predict` on up to 32 of `images`, by default of the test pictures. Raises Mistake
        where it deviates by more than 1e-4, so that nothing is written, and where a member cannot be exported.
        """
        path, files = None if out is None else Path(out), None if images is None else pictures_of(images)
        return export_run(self, format, best, path, files, tell or (lambda event: None))

    @ends_as_mistakes()
    def _members_predictions(
        self, configs: Sequence[Config], files: list[str], place: Path, tell: Tell
    ) -> list[np.ndarray]:
        """The predictions `(M, C)` of each of the blend's members for the pictures, made by a worker of their own."""
        predictions = []
        worker = Worker(command_of(), log_of(self.folder, place))
        try:
            worker.greet(self.hello(place).to_json(), LONG_ENOUGH)
            for number, config in enumerate(configs, 1):
                request = Predict(
                    config,
                    pixels=str(self._pixels_for(config, files, place, tell)),
                    weights=str(store.nets_folder(self.folder, config)),
                    save=str(place / f"{number}.npy"),
                    exactly=False,  # in the number format of the run, whose submission was answered in it
                )
                worker.ask(request.to_json(), LONG_ENOUGH)
                predictions.append(np.load(place / f"{number}.npy"))
                text = "predicting" if number == 1 else ""
                tell(Event("progress", text, {"done": number, "total": len(configs)}))
        finally:
            worker.end()
        return predictions

    def decoding(self, config: Config) -> Decoding:
        """The decoding of pictures that a net of the config is to predict."""
        channels, ranges = self.task.get("channels", 3), as_ranges(self.task.get("ranges", ()))
        return Decoding(config.seen_size, config.preprocess, channels, ranges, config.grid)

    def _pixels_for(self, config: Config, files: list[str], place: Path, tell: Tell) -> Path:
        """The path of the pictures, decoded for the config; raises Mistake where some cannot be read."""
        how = self.decoding(config)
        pixels = build_pixels(
            files,
            how,
            place,
            lambda done, total: tell(Event("progress", "", {"done": done, "total": total, "what": "decoding"})),
            jpegs=len(files) * how.side**2 * how.channels > DISK_SHARE * shutil.disk_usage(place).free,
        )
        if pixels.bad.any():
            names = ", ".join(shown(files[i]) for i in np.flatnonzero(pixels.bad)[:3])
            raise Mistake(f"{int(pixels.bad.sum())} pictures cannot be read: {names}; take them out")
        return pixels.path

    def hello(self, place: Path) -> Hello:
        """The greeting of a worker that predicts for this run, with `place` as its cache.

        The dictionaries of hand-made features are copied to `place`. The run's own cache is not used, since features of
        other pictures are of no use later, and the run folder may be read-only.
        """
        for file in self.folder.glob("dictionary-*.npz"):
            shutil.copy(file, place)
        (place / "cache").mkdir(exist_ok=True)
        return Hello(
            device="auto",
            kind=self.task["kind"],
            width=len(self.task["classes"]) or 1,
            target="",
            fold_of="",
            cache=str(place / "cache"),
            pipelines=store.read_run(self.folder).get("pipelines", {}),
            precision="float32",
        )

    def _task_of(self, files: Sequence[str]) -> Task:
        form = plain_form(Form(**with_tuples(self.task["form"])), self.task["classes"])
        with_ending = bool(form.ids) and Path(form.ids[0]).suffix.lower() in PICTURES
        names = [Path(parts_of(f)[0][0][-1]) for f in files]  # a member's own name, the first one's of several pictures
        ids = tuple(name.name if with_ending else name.stem for name in names)
        if len(set(ids)) < len(ids):  # rows of a table share a name, such as "band_1"
            ids = tuple(".".join(parts_of(f)[0][0][1:]) or Path(f).name for f in files)
        return Task(
            name=self.task["name"],
            kind=self.task["kind"],
            classes=tuple(self.task["classes"]),
            train_ids=(),
            train_files=(),
            target=np.zeros(0),
            test_ids=ids,
            test_files=tuple(files),
            form=replace(form, ids=ids),
            grades=tuple(self.task["grades"]),
        )


def plain_form(form: Form, classes: Sequence[str]) -> Form:
    """The form for pictures that are in no sample: a comma-separated row for each item, its id and its answers."""
    form = replace(form, order=(), beside=(), delimiter=",", decimal=".", header=True)
    if not form.rows:
        return form
    known = tuple(c for c in form.column_of if c >= 0)
    return replace(form, rows=(), columns=(form.columns[0], *(classes[c] for c in known)), column_of=known)


def open_run(folder: str | Path, metric: Metric | None = None) -> Run:
    """The run in a folder. `metric` is needed only to compute scores by a metric of the user's own.

    Raises Mistake where the folder is no run, or of another version of autoclimb.
    """
    folder = Path(folder)
    values = store.read_run(folder)
    if not values:
        raise Mistake(f"{folder} is no run of autoclimb (it has no run.json); name the folder that fit wrote")
    task_file = folder / store.TASK
    task = read_json(task_file) if task_file.exists() else {}
    blend, rule = store.read_blend(folder) or (None, {})
    return Run(
        folder=folder,
        metric=metric or _metric_from(values["metric"]),
        finished=bool(values.get("finished")),
        words=values.get("words", "not finished"),
        spent=values["spent"],
        task=task,
        blend=blend,
        rule=rule,
    )


def describe_metric(metric: Metric) -> dict[str, Any]:
    """The metric as json, without its functions: enough to predict and to show scores."""
    functions = ("function", "decide", "on_kind")
    return {f.name: getattr(metric, f.name) for f in fields(metric) if f.name not in functions}


def describe_task(task: Task, ranges: Ranges = ()) -> dict[str, Any]:
    """The facts of the task as json that predicting new pictures needs; `ranges` are those of the pixels."""
    return {
        "name": task.name,
        "kind": task.kind,
        "classes": task.classes,
        "grades": task.grades,
        "form": asdict(task.form),
        "channels": task.channels,
        "metadata": task.metadata.names if task.metadata else (),
        "categories": task.metadata.categories if task.metadata else (),
        "ranges": ranges,
    }


def pictures_of(images: str | Path | Sequence[str | Path]) -> list[str]:
    """The sources of pictures: a picture file, those below a folder or in an archive by path, or those listed.

    Raises Mistake where there are none, or where a listed file does not exist.
    """
    if isinstance(images, (str, Path)):
        folder = Path(images)
        if not folder.exists():
            raise Mistake(f"{folder} does not exist; name a folder of image files")
        if folder.is_file() and not stem_of(folder.name):
            return [str(folder)]
        files = pictures_below(folder)
        if not files:
            raise Mistake(f"no pictures in {folder}; name a folder of image files")
        return files
    missing = [file for p in images for file in files_of(str(p)) if not Path(file).is_file()]
    if missing or not images:
        raise Mistake(f"{missing[0]} is no file" if missing else "no pictures were named")
    return [str(p) for p in images]


def _metric_from(values: dict[str, Any]) -> Metric:
    """The metric by its name; for a metric of the user's own, one that can show scores but not compute them."""
    try:
        return metric_named(values["name"])
    except Mistake:

        def unknown(truth: np.ndarray, answers: np.ndarray) -> float:
            raise Mistake(f"metric {values['name']!r} is your own; give it to open_run(folder, metric=...)")

        return Metric(function=unknown, **with_tuples(values))
