"""A run's model card on disk."""

from collections.abc import Callable
from pathlib import Path

from autoclimb.budget import SLACK
from autoclimb.deadlines import outcome_within
from autoclimb.disk import write_text
from autoclimb.report.model_card import card_text
from autoclimb.report.record import RunRecord
from autoclimb.run.store import failure_note
from autoclimb.types import Tell

CARD = "model_card.md"


def write_card(folder: Path, record: Callable[[], RunRecord], left: float, tell: Tell) -> None:
    """Writes `model_card.md`. An error becomes a note, and writing that hangs is abandoned, so the run goes on."""

    def write() -> None:
        write_text(folder / CARD, card_text(record()))

    _, error = outcome_within(max(min(SLACK.card, left), SLACK.card_at_least), write)
    if error is not None:
        text = f"the model card failed ({type(error).__name__}: {error}); the submission stands"
        tell(failure_note(text, error))
