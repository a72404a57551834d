"""Recipes: Python files over the public API that say what may vary and which stages run."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoclimb.errors import Mistake, in_users_code
from autoclimb.search.climb import Stage
from autoclimb.search.space import SearchSpace

INSTALLED = Path(__file__).parent / "recipes"  # where a wheel puts them
CHECKOUT = Path(__file__).parent.parent / "recipes"
PARTS: dict[str, tuple[type, ...]] = {  # of a dict RECIPE
    "space": (SearchSpace,),
    "plan": (list, tuple),
    "folds": (int,),
    "pretrained": (bool,),
}


@dataclass(frozen=True, eq=False)
class Given:
    """What the user and the recipe ask for; the user's word counts where both speak."""

    space: SearchSpace
    plan: Sequence[str | Stage | tuple[str, Stage]] | None
    folds: int | None
    pretrained: bool

    def plan_names(self) -> list[str] | None:
        """The stages' names, None for the plan of the house."""
        if self.plan is None:
            return None
        return [
            e if isinstance(e, str) else e[0] if isinstance(e, tuple) else getattr(e, "__name__", "") for e in self.plan
        ]


def recipe_files() -> dict[str, Path]:
    """The recipes that come with autoclimb, by name."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def load_recipe(
    recipe: str | Path | None,
    *,
    space: SearchSpace | None,
    plan: Sequence[Any] | None,
    folds: int | None,
    pretrained: bool,
) -> Given:
    """What is asked for in all: a recipe's dict RECIPE (space, plan, folds, pretrained), the caller's values first."""
    values: dict[str, Any] = {}
    if recipe is not None:
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
        unknown = set(values) - set(PARTS) if isinstance(values, dict) else {repr(values)}
        if not values or unknown:
            raise Mistake(
                f"{path.name} needs a dict RECIPE of {', '.join(PARTS)}"
                + (f", not {', '.join(map(str, unknown))}" if unknown else "")
            )
        for part, value in values.items():
            if value is not None and not isinstance(value, PARTS[part]):
                wanted = " or ".join(kind.__name__ for kind in PARTS[part])
                raise Mistake(f"{path.name}: {part} of RECIPE is {value!r}; give a {wanted}")
    folds = folds if folds is not None else values.get("folds")
    if folds is not None and folds < 2:
        raise Mistake(f"--folds {folds} leaves nothing to learn from; give 2 or more")
    return Given(
        space=space or values.get("space") or SearchSpace(),
        plan=plan if plan is not None else values.get("plan"),
        folds=folds,
        pretrained=pretrained and values.get("pretrained", True),
    )
