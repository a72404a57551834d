"""The shape of the house, read off its source: who may import whom, and what nobody may do."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autoclimb"
LEAVES = {"config", "types", "errors", "seeds", "budget", "disk", "arrays", "policies", "processors", "deadlines"}
LEAVES |= {"protocol"}
MAY_IMPORT = {
    "errors": set(),
    "processors": set(),
    "deadlines": set(),
    "graphs": {"processors"},
    "seeds": {"errors"},
    "disk": {"errors"},
    "budget": {"errors"},
    "arrays": {"disk"},
    "config": {"disk"},
    "types": {"config", "errors", "arrays", "disk"},
    "policies": {"errors"},
    "protocol": {"config", "types"},
    "data": {"seeds", "types", "errors", "disk", "arrays", "processors"},
    "score": {"seeds", "types", "errors", "arrays"},
    "blend": {"score", "seeds", "config", "types", "errors", "arrays"},
    "report": {"score", "config", "types", "errors", "disk", "budget", "arrays", "seeds"},
    "demo": {"score", "seeds", "types", "errors"},
    "search": LEAVES,
    "learn": LEAVES | {"data.stored", "graphs"},
    "run": LEAVES | {"graphs", "search", "blend", "report", "data", "score"},
    "track": LEAVES | {"run.store"},
    "reading": {"types", "data", "score"},
    "contest": {"types", "errors", "disk", "budget", "processors", "run", "report", "data", "score"},
    "benching": {"contest", "types", "errors", "disk"},
    "solve": LEAVES | {"reading", "run", "search", "report", "track", "data", "score"},
    "options": {"errors"},
    "endings": {"solve", "report", "errors"},
    "cli": {
        "types",
        "options",
        "endings",
        "reading",
        "solve",
        "dry_run",
        "benching",
        "search.recipes",
        "report",
        "demo",
        "budget",
        "errors",
        "data",
    },
    "dry_run": {"reading", "search", "data", "score", "config", "types", "errors", "budget", "arrays"},
    "__main__": {"cli"},
    "__init__": {"benching", "dry_run", "reading", "solve", "errors", "config", "types", "score", "search"},
}
HEAVY = {"torch", "torchvision", "timm", "albumentations"}
HOSTS = {"hf_xet", "requests", "httpx", "httpx2", "urllib3", "aiohttp", "gdown", "kaggle", "boto3"}
HOSTS |= {"urllib.request", "http.client", "ftplib"}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
VAGUE = {"utils", "util", "base", "common", "manager", "helper", "helpers", "core", "misc"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] != "recipes")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """`data.read.folder` of autoclimb/data/read/folder.py; an inner __init__ bears its folder's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of all imports, also in functions; `from a import b` is a.b where that is a module."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the full name"
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*f"{node.module}.{alias.name}".split("."))
                module = inner.is_dir() or inner.with_suffix(".py").exists() or node.module in ("urllib", "http")
                yield node.lineno, f"{node.module}.{alias.name}" if module else str(node.module)


def calls_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every call of a plain name."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id


def within(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


RULES: list[Callable[[Path], None]] = []  # what every file keeps to


def rule(check: Callable[[Path], None]) -> Callable[[Path], None]:
    RULES.append(check)
    return check


@rule
def imports_go_one_way(path):
    room = name_of(path).split(".")[0]
    assert room in MAY_IMPORT, f"{room} is a new room; say in MAY_IMPORT what it may import"
    for line, module in imports_of(path):
        if module.startswith("autoclimb."):
            inner = module.removeprefix("autoclimb.")
            assert within(inner, MAY_IMPORT[room] | {room}), f"{path}:{line}: {room} may not import {inner}"


@rule
def nobody_inside_imports_the_front_door(path):
    assert not [line for line, module in imports_of(path) if module == "autoclimb"]


@rule
def only_the_command_line_and_its_view_print(path):
    if name_of(path) not in ("cli", "endings", "report.view"):
        assert not [line for line, name in calls_of(path) if name == "print"]


@rule
def nothing_is_pickled_or_evaluated(path):
    assert not [module for _, module in imports_of(path) if within(module, PICKLES)]
    assert not [line for line, name in calls_of(path) if name == "eval"]
    loads = [word for word in ast.walk(tree_of(path)) if isinstance(word, ast.keyword) and word.arg == "allow_pickle"]
    assert not [word for word in loads if not (isinstance(word.value, ast.Constant) and word.value.value is False)]


@rule
def errors_are_caught_by_name(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path}:{node.lineno} catches everything"
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            assert "Exception" not in caught, f"{path}:{node.lineno} catches Exception"


@rule
def only_learn_pays_for_torch(path):
    if name_of(path).split(".")[0] != "learn":
        assert not [module for _, module in imports_of(path) if within(module, HEAVY)]


@rule
def threads_are_counted_in_one_place(path):
    """Where a container has a quota, affinity alone says how many cores the machine has, not how many are ours."""
    if name_of(path) != "processors":
        assert not {"sched_getaffinity", "cpu_count"} & {
            node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)
        }


@rule
def nothing_downloads_by_itself(path):
    assert not [module for _, module in imports_of(path) if within(module, HOSTS)]


@rule
def every_module_says_what_it_is(path):
    assert ast.get_docstring(tree_of(path)) or not path.read_text(encoding="utf-8").strip()


@rule
def names_say_something(path):
    assert not VAGUE & set(name_of(path).split("."))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_keeps_every_rule(path):
    for check in RULES:
        check(path)


def test_inner_inits_hold_a_docstring_and_nothing_else():
    inner = [path for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE]
    assert inner
    for path in inner:
        assert ast.get_docstring(tree_of(path)), f"{path} does not say what its room is for"
        assert len(tree_of(path).body) == 1, f"{path} holds more than its docstring"


def test_no_module_bears_a_public_functions_name():
    modules = {part for path in FILES for part in name_of(path).split(".")}
    defined = {
        node.name: path
        for path in FILES
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    }
    assert not {name: str(path) for name, path in defined.items() if name in modules}


def test_the_rules_see_what_they_forbid(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "autoclimb")
    path = tmp_path / "autoclimb" / "search" / "stages.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "autoclimb" / "learn").mkdir()
    path.write_text(
        "def f():\n    from autoclimb.learn import loop\n    import torch.nn as nn\n    from autoclimb import learn\n"
        "    from urllib import request\n    print(nn)\n"
        "    try:\n        pass\n    except (OSError, Exception):\n        pass\n"
    )
    assert [module for _, module in imports_of(path)] == [
        "autoclimb.learn",
        "torch.nn",
        "autoclimb.learn",
        "urllib.request",
    ]
    for check in (
        imports_go_one_way,
        only_the_command_line_and_its_view_print,
        errors_are_caught_by_name,
        only_learn_pays_for_torch,
        nothing_downloads_by_itself,
        every_module_says_what_it_is,
    ):
        with pytest.raises(AssertionError):
            check(path)
