"""Recipes: Python files over the public API that define a search space and a plan."""

import ast
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoclimb.errors import Mistake, in_users_code
from autoclimb.search.climb import Stage
from autoclimb.search.order import plan_of
from autoclimb.search.space import SearchSpace

INSTALLED = Path(__file__).parent.parent / "recipes"  # of an installed wheel
CHECKOUT = INSTALLED.parent.parent / "recipes"
KEYS: dict[str, tuple[type, ...]] = {  # of a dict RECIPE
    "space": (SearchSpace,),
    "plan": (list, tuple),
    "folds": (int,),
    "pretrained": (bool,),
}


@dataclass(frozen=True, eq=False)
class Given:
    """The search settings of the caller, completed by those of the recipe."""

    space: SearchSpace
    plan: Sequence[str | Stage | tuple[str, Stage]] | None
    folds: int | None
    pretrained: bool

    def plan_names(self) -> list[str] | None:
        """The stages' names, None for autoclimb's own plan."""
        if self.plan is None:
            return None
        return [
            e if isinstance(e, str) else e[0] if isinstance(e, tuple) else getattr(e, "__name__", "") for e in self.plan
        ]


def recipe_files() -> dict[str, Path]:
    """The recipes that come with autoclimb, by name."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def recipe_titles() -> dict[str, str]:
    """The first line of the docstring of each recipe that comes with autoclimb, by name."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in sorted(recipe_files().items())}
    return {name: (ast.get_docstring(tree) or "").partition("\n")[0] for name, tree in trees.items()}


def load_recipe(
    recipe: str | Path | None,
    *,
    space: SearchSpace | None,
    plan: Sequence[Any] | None,
    folds: int | None,
    pretrained: bool,
) -> Given:
    """The caller's settings, completed by the recipe's dict RECIPE (space, plan, folds, pretrained).

    Raises Mistake for a recipe that cannot be found or read, for what cannot be a space or a plan, and for fewer than
    two folds.
    """
    values = {} if recipe is None else recipe_values(recipe)
    if space is not None and not isinstance(space, SearchSpace):
        raise Mistake(f"space is {space!r}; give a SearchSpace")
    plan_of(plan if plan is not None else values.get("plan"))  # before minutes of reading and decoding
    folds = folds if folds is not None else values.get("folds")
    if folds is not None and folds < 2:
        raise Mistake(f"--folds {folds} leaves no rows to train on; give 2 or more")
    return Given(
        space=space or values.get("space") or SearchSpace(),
        plan=plan if plan is not None else values.get("plan"),
        folds=folds,
        pretrained=pretrained and values.get("pretrained", True),
    )


def recipe_values(recipe: str | Path) -> dict[str, Any]:
    """The dict RECIPE of a recipe given by name or path; its file is run. Raises Mistake where it has none."""
    known = recipe_files()
    path = known.get(str(recipe).replace("_", "-"), Path(recipe))
    if not path.is_file() or path.suffix != ".py":
        raise Mistake(f"recipe {str(recipe)!r} is none of {', '.join(known) or 'none'} and no .py file")
    spec = importlib.util.spec_from_file_location(f"autoclimb_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with in_users_code(f"recipe {path.name} cannot be imported"):
        spec.loader.exec_module(module)
    values = getattr(module, "RECIPE", None) or {}
    unknown = set(values) - set(KEYS) if isinstance(values, dict) else {repr(values)}
    if not values or unknown:
        raise Mistake(
            f"{path.name} needs a dict RECIPE of {', '.join(KEYS)}"
            + (f", not {', '.join(map(str, unknown))}" if unknown else "")
        )
    for key, value in values.items():
        if value is not None and not isinstance(value, KEYS[key]):
            types = " or ".join(kind.__name__ for kind in KEYS[key])
            raise Mistake(f"{path.name}: {key} of RECIPE is {value!r}; give a {types}")
    return values
