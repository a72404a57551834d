"""Ranks and medals on a leaderboard: Kaggle's rules, ties behind, tables as they are downloaded."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoclimb.errors import Mistake
from autoclimb.report.standing import medal_of, read_scores, standing_of, standing_text

scores = st.lists(st.floats(0, 1), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("rank", "teams", "medal"),
    [
        (5, 50, "gold"),
        (6, 50, "silver"),
        (20, 50, "bronze"),
        (21, 50, ""),
        (10, 200, "gold"),
        (40, 200, "silver"),
        (80, 200, "bronze"),
        (11, 500, "gold"),
        (50, 500, "silver"),
        (100, 500, "bronze"),
        (101, 500, ""),
        (14, 2000, "gold"),
        (100, 2000, "silver"),
        (200, 2000, "bronze"),
        (201, 2000, ""),
    ],
)
def test_medals_follow_kaggles_lines(rank, teams, medal):
    assert medal_of(rank, teams) == medal


@given(scores, st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_a_better_score_never_ranks_lower(others, one, two, greater):
    better, worse = (max(one, two), min(one, two)) if greater else (min(one, two), max(one, two))
    assert standing_of(better, others, greater).rank <= standing_of(worse, others, greater).rank


def test_a_team_with_an_equal_score_ranks_ahead():
    place = standing_of(0.9, [0.95, 0.9, 0.8], True)
    assert (place.rank, place.teams) == (3, 3)
    assert place.percentile == 75.0


@pytest.mark.parametrize(
    "text",
    [
        "Rank,TeamName,Score\n1,a,0.9\n2,b,0.8\n",
        "Rank,TeamName,Score\n1,a,0.9\n2,b,0.8\n3,late,\n",
        "Rank;Score;TeamName\n1;0.9;a, b\n2;0.8;c\n",
        "\ufeffscore\n0.9\n0.8\n",
        "team,points\na,0.9\nb,0.8\n",
        "Rank,team,points\n1,a,0.9\n2,b,0.8\n",
        "0.9\n0.8\n",
        "Rank;Team;Score\n1;a, b;0,9\n2;c;0,8\n",
        "\r\n\nRank;Score\n1;0.9\n2;0.8\n",
        '"Team, its name";Score\na;0,9\nb;0,8\n',
    ],
)
def test_a_leaderboard_is_read_as_downloaded(tmp_path, text):
    (tmp_path / "scores.csv").write_text(text, encoding="utf-8")
    assert read_scores(tmp_path / "scores.csv") == [0.9, 0.8]


def test_a_leaderboard_is_read_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("team,Score\na,0.9\n",))
    writer.start()
    assert read_scores(tmp_path / "pipe") == [0.9]
    writer.join()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "team\nx\n", "team,rank\na,1\nb,2\n"])
def test_a_table_without_a_score_is_a_mistake_that_says_what_to_write(tmp_path, text):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(Mistake, match="Score"):
        read_scores(tmp_path / "scores.csv")


def test_a_quote_that_nobody_closes_takes_no_team_away_in_silence(tmp_path):
    (tmp_path / "scores.csv").write_text('team,Score\na,0.9\n"b,0.8\nc,0.7\n')
    with pytest.raises(Mistake, match="cannot be read"):
        read_scores(tmp_path / "scores.csv")


@pytest.mark.parametrize("text", ["team,Score\na,0.9\nb,none\n", "team,Score\na,\n"])
def test_a_score_that_is_no_number_is_named(tmp_path, text):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(Mistake, match=r"column Score holds ('none'|no score)"):
        read_scores(tmp_path / "scores.csv")


def test_the_text_says_rank_medal_and_how_sure():
    words = standing_text(0.9, (0.85, 0.95), [i / 100 for i in range(100)], True)
    assert "rank 11" in words
    assert "silver" in words
    assert "rank 6 to 16" in words
    assert "gold to silver" in words


def test_a_run_without_a_score_has_no_place():
    assert standing_text(float("nan"), (float("nan"), float("nan")), [0.1, 0.2], True) == (
        "against 2 teams: no place, since the run has no out-of-fold score"
    )


def test_a_score_without_an_interval_has_a_place_and_no_range():
    words = standing_text(0.15, (float("nan"), float("nan")), [0.1, 0.2], True)
    assert words == "against 2 teams: rank 2, top 66.7 %, no medal"


def test_a_place_against_one_team_is_said_in_the_singular():
    assert standing_text(0.9, (0.8, 0.95), [0.1], True).startswith("against 1 team: rank 1,")


@pytest.mark.parametrize("text", ["team,Score,score\na,0.9,0.1\n", "0.9,1\n0.8,2\n"])
def test_columns_of_which_either_may_be_the_scores_are_named(tmp_path, text):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(Mistake, match="Score"):
        read_scores(tmp_path / "scores.csv")
