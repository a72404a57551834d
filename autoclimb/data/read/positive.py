"""Which of two classes is the positive one: by the user's word, the sample's column, or what their names mean."""

from collections.abc import Sequence
from typing import Literal

from autoclimb.data.read.values import are_numbers, same_name
from autoclimb.errors import Mistake
from autoclimb.types import Note

POSITIVE = {
    "1",
    "true",
    "yes",
    "y",
    "positive",
    "pos",
    "present",
    "t",
    "abnormal",
    "anomaly",
    "anomalous",
    "defect",
    "defective",
    "damaged",
    "infected",
    "diseased",
    "disease",
    "malignant",
    "sick",
    "ill",
    "bad",
    "fake",
    "cancer",
    "tumor",
    "tumour",
    "pneumonia",
}
NEGATIVE = {
    "0",
    "-1",
    "false",
    "no",
    "n",
    "negative",
    "neg",
    "absent",
    "f",
    "none",
    "nothing",
    "normal",
    "healthy",
    "benign",
    "good",
    "ok",
    "okay",
    "clean",
    "intact",
    "undamaged",
    "unaffected",
    "uninfected",
    "real",
    "authentic",
    "genuine",
    "original",
    "cover",
    "background",
    "control",
}
DENIALS = ("un", "non", "no", "not", "without")


def positive_last(classes: tuple[str, ...], answers: Sequence[str], positive: str) -> tuple[tuple[str, ...], Note]:
    """Two classes, the positive one last, and a note on why it is.

    The user says it, or the sample's only column is called so, or words do: `abnormal` is positive and `normal` is not.
    Otherwise it is the second by the alphabet, a guess.
    """
    asked = {same_name(a) for a in answers} if len(answers) == 1 else set()
    first, second = classes
    named = positive or next((c for c in classes if same_name(c) in asked), "")
    if named:
        if named not in classes:
            raise Mistake(
                f"{named!r} is none of the two classes {first!r} and {second!r}; name one of them as positive"
            )
        return with_note(classes, named, "sure")
    words = [(same_name(c) in POSITIVE) - (same_name(c) in NEGATIVE) for c in classes]
    if words[0] == words[1]:
        words = [-int(is_denial(a, b)) for a, b in ((first, second), (second, first))]
    if words[0] != words[1]:
        return with_note(classes, classes[words.index(max(words))], "likely")
    return with_note(classes, second, "likely" if are_numbers(classes) else "guessed")


def with_note(
    classes: tuple[str, ...], positive: str, sure: Literal["sure", "likely", "guessed"]
) -> tuple[tuple[str, ...], Note]:
    """Two classes, the positive last, and the note that says so."""
    (negative,) = (c for c in classes if c != positive)
    text = f"{positive!r} is the positive class, {negative!r} the negative"
    hint = f"; if not, add --target COLUMN={negative}" if sure == "guessed" else ""
    return (negative, positive), Note("positive", text + hint, positive, sure)


def is_denial(name: str, other: str) -> bool:
    """Whether a class is called the other one with a word or syllable of denial: uninfected, no mask, not_smoking."""
    name, other = same_name(name), same_name(other).removeprefix("with ")
    return any(name == denial + join + other for denial in DENIALS for join in ("", " "))
