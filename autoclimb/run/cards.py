"""A run's model card on disk."""

from pathlib import Path

from autoclimb.budget import SLACK
from autoclimb.disk import whole_file
from autoclimb.report.model_card import card_text
from autoclimb.run.deadlines import outcome_within
from autoclimb.run.reporting import Recorded, record_of
from autoclimb.types import Event, Tell

CARD = "model_card.md"


def write_card(run: Recorded, left: float, tell: Tell) -> None:
    """Writes `model_card.md`. It never costs the run: what goes wrong is a note, and what hangs is left alone."""

    def write() -> Path:
        text = card_text(record_of(run))
        with whole_file(run.folder / CARD) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
        return run.folder / CARD

    _, error = outcome_within(min(SLACK.card, left), write)
    if error is not None:
        tell(Event("note", f"the model card failed ({type(error).__name__}: {error}); the submission stands"))
