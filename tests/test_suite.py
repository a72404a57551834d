"""Suites as people write them: what is understood, and what is said of what is not."""

import pytest
from benches import suite_file

from autoclimb.contest.suite import Cell, KnownSet, Solver, check_out, read_suite, selected
from autoclimb.errors import Mistake


def changed(tmp_path, old: str, new: str):
    path = suite_file(tmp_path, {"mine": "good"})
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_suite_names_sets_and_solvers_relative_to_itself(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"}, ("pets", "dogs"), 'budgets = ["60s", "5m"]\nseeds = [0, 2]')
    suite = read_suite(path)
    assert suite.folder == tmp_path
    assert [s.name for s in suite.sets] == ["pets", "dogs"]
    assert (suite.budgets, suite.seeds) == ((60.0, 300.0), (0, 2))
    assert [(c.known_set.name, c.budget, c.seed) for c in suite.cells()][:3] == [
        ("pets", 60, 0),
        ("dogs", 60, 0),
        ("pets", 300, 0),
    ]


def test_a_suite_without_solvers_is_autoclimbs(tmp_path):
    assert read_suite(suite_file(tmp_path, {})).solvers == (Solver("autoclimb"),)


def test_a_metric_of_ones_own_is_relative_to_the_suite(tmp_path):
    path = changed(tmp_path, 'metric = "accuracy"', 'metric = "mine.py:half"')
    (tmp_path / "mine.py").write_text("def half(truth, answers, *, wants='label'):\n    return 0.5\n")
    suite = read_suite(path)
    assert suite.metric_of(suite.sets[0]).function([0], [1]) == 0.5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[sets.", "[set.", "has 'set'; the suite takes sets"),
        ("[sets.", "[solvers.", "TOML|a solver takes options, command"),
        ('data = "set0"', 'data = "sett"', r"set 'pets': data sett does not exist; write a path from"),
        ('data = "set0"', "", r'set .pets. has no data; write data = "..."'),
        ('answers = "answers0.csv"', 'answers = "other.csv"', "answers other.csv is no file"),
        ('metric = "accuracy"', 'metric = "acuracy"', "set 'pets': .*acuracy"),
        ('metric = "accuracy"', 'metric = "accuracy"\nmedals = { gold = "all" }', "no table of scores; write medals ="),
        (
            'metric = "accuracy"',
            'metric = "accuracy"\nmedals = { tin = 0.5 }',
            "'tin'; medals are gold, silver, bronze",
        ),
        ('metric = "accuracy"', 'metric = "accuracy"\nmedal = 1', "has 'medal'; a set takes data, answers"),
        ("{seed}", "{seeds}", "has {seeds}, which is unknown; it may have {data}"),
        ("{out}", "out.csv", "does not say where the csv goes; write {out} there"),
        ("command = ", "options = ['--folds', '3']\ncommand = ", "options, which are autoclimb's, and a command"),
        ("command = [", "command = [3, ", "is no list of words"),
        ("command = [", 'command = ["\\u0000", ', "is no list of words"),
        (
            'metric = "accuracy"',
            'metric = "accuracy"\nmedals = { gold = 0.5, bronze = 0.9 }',
            "medals have gold = 0.5, bronze = 0.9, but a higher accuracy is better",
        ),
        (
            'metric = "accuracy"',
            'metric = "log-loss"\nmedals = { gold = 0.9, silver = 0.5 }',
            "medals have gold = 0.9, silver = 0.5, but a lower log-loss is better",
        ),
        ("[sets.", "seeds = 3\n[sets.", "seeds = 3 is no list; write"),
        ("[sets.", "seeds = [-1]\n[sets.", "seeds hold '-1'; give whole numbers"),
        ("[sets.", "budgets = [true]\n[sets.", "budgets hold True"),
        ("[sets.", "budgets = ['soon']\n[sets.", "budget 'soon' is not numbers with units"),
        ("[sets.", "[sets.\n", "is no TOML"),
    ],
)
def test_what_a_suite_has_wrong_is_said_with_what_to_write(tmp_path, old, new, words):
    with pytest.raises(Mistake, match=words):
        selected(read_suite(changed(tmp_path, old, new)), budgets=["10s"])


@pytest.mark.parametrize("word", ["--budget", "--seed=3", "--out", "--metric", "-b60s", "-o", "-m", "-qb"])
def test_options_that_a_cell_decides_are_refused(tmp_path, word):
    path = suite_file(tmp_path, {}, more=f'[solvers.mine]\noptions = ["{word}", "1h"]')
    with pytest.raises(Mistake, match=f"solver 'mine' has the option {word}, which the bench gives itself"):
        read_suite(path)
    path.write_text(path.read_text().replace(word, "--folds").replace("1h", "3"))
    assert read_suite(path).solvers == (Solver("mine", ("--folds", "3")),)


def test_a_suite_from_an_editor_that_marks_its_files_is_read(tmp_path):
    path = suite_file(tmp_path, {"mine": "good"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [s.name for s in read_suite(path).sets] == ["pets"]


@pytest.mark.parametrize("words", ["mine", [], ()])
def test_names_that_are_no_list_are_a_mistake(tmp_path, words):
    suite = read_suite(suite_file(tmp_path, {"mine": "good"}))
    with pytest.raises(Mistake, match=r'solvers = .* is no list of names; write solvers = \["mine"\]'):
        selected(suite, solvers=words, budgets=["10s"])
    with pytest.raises(Mistake, match=r'sets = .* is no list of names; write sets = \["pets"\]'):
        selected(suite, sets=words, budgets=["10s"])


def test_braces_of_the_shell_are_no_places(tmp_path):
    path = changed(tmp_path, '"{seed}"', '"${HOME} ${out} {}"')
    assert "${HOME} ${out} {}" in read_suite(path).solvers[0].command


def test_budgets_of_one_length_are_one_however_they_are_written(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"mine": "good"}, more='budgets = ["10m", 600, "600s", 600.0]'))
    assert suite.budgets == (600.0,)
    assert len(suite.cells()) == 1


def test_answers_that_lie_among_the_data_are_refused_since_solvers_would_read_them(tmp_path):
    path = changed(tmp_path, "answers0.csv", "set0/answers0.csv")
    (tmp_path / "answers0.csv").rename(tmp_path / "set0" / "answers0.csv")
    with pytest.raises(Mistake, match=r"set 'pets': answers set0/answers0.csv lie inside the data"):
        selected(read_suite(path), budgets=["10s"])


@pytest.mark.parametrize("out", ["set0", "set0/out", "elsewhere/../set0/out"])
def test_a_bench_among_the_data_is_refused_since_it_would_be_read_as_a_part_of_them(tmp_path, out):
    suite = selected(read_suite(suite_file(tmp_path, {"mine": "good"})), budgets=["10s"])
    with pytest.raises(Mistake, match="lies inside the data of set 'pets'"):
        check_out(suite, tmp_path / out)
    check_out(suite, tmp_path / "set0-bench")


def test_a_suite_that_is_not_there_or_empty_is_a_mistake(tmp_path):
    with pytest.raises(Mistake, match="cannot be read"):
        read_suite(tmp_path / "none.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(Mistake, match=r"names no set; write \[sets.NAME\]"):
        read_suite(tmp_path / "empty.toml")


def test_some_of_a_suite_is_selected_by_name(tmp_path):
    suite = read_suite(suite_file(tmp_path, {"mine": "good", "yours": "bad"}, ("pets", "dogs")))
    chosen = selected(suite, solvers=["yours"], sets=["dogs"], budgets=["10s"], seeds=["4"])
    assert [(c.solver.name, c.known_set.name, c.budget, c.seed) for c in chosen.cells()] == [("yours", "dogs", 10, 4)]
    with pytest.raises(Mistake, match="solver 'his' is not in the suite; it has mine, yours"):
        selected(suite, solvers=["his"], budgets=["10s"])
    with pytest.raises(Mistake, match="has no budgets; give --budgets"):
        selected(suite)
    assert suite.set_named("dogs") == chosen.sets[0]
    with pytest.raises(Mistake, match="set 'cats' is not in the suite; it has pets, dogs"):
        suite.set_named("cats")


def test_a_changed_command_is_another_cell_and_medals_are_not():
    known_set = KnownSet("pets", "data", "a.csv", "accuracy")
    cell = Cell(Solver("mine", command=("a", "{out}")), known_set, 60.0, 0)
    other = Cell(Solver("mine", command=("b", "{out}")), known_set, 60.0, 0)
    shown = Cell(cell.solver, KnownSet("pets", "data", "a.csv", "accuracy", (("gold", 0.9),)), 60.0, 0)
    assert cell.folder != other.folder
    assert cell.folder == shown.folder


@pytest.mark.parametrize("name", ["../../etc", "a/b", "<script>", "..", "x" * 300, "a\0b", "\n", "猫" * 60])
def test_a_cells_folder_is_one_plain_name_whatever_the_names_hold(name):
    folder = Cell(Solver(name), KnownSet(name, "d", "a", "accuracy"), 60.0, 0).folder
    assert "/" not in folder
    assert "\0" not in folder
    assert len(folder.encode()) < 150
    assert folder not in (".", "..")
