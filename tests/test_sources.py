"""The grammar of sources: what is put together comes apart again."""

from hypothesis import given
from hypothesis import strategies as st

from autoclimb.data.sources import channels, files_of, inside, parts_of, pictures, shown

names = st.text("ab/\\.:+| é日", min_size=1, max_size=6)
places = st.lists(names, min_size=1, max_size=4)
items = st.lists(st.lists(places, min_size=1, max_size=4), min_size=1, max_size=4)


@given(items)
def test_pictures_of_channels_of_places_come_apart_as_they_were_put_together(item):
    source = pictures(channels(inside(*place) for place in one) for one in item)
    assert parts_of(source) == [[tuple(place) for place in one] for one in item]


@given(items)
def test_the_files_of_a_source_are_named_once_each_in_order(item):
    files = files_of(pictures(channels(inside(*place) for place in one) for one in item))
    assert files == list(dict.fromkeys(place[0] for one in item for place in one))


def test_a_plain_path_is_its_own_source():
    assert parts_of("a/b c.jpg") == [[("a/b c.jpg",)]]
    assert inside("a.jpg") == channels(["a.jpg"]) == pictures(["a.jpg"]) == "a.jpg"


def test_people_see_no_separators():
    source = pictures([channels([inside("a.json", 3, "red"), "g.png"]), inside("t.zip", "x/1.png")])
    assert shown(source) == "a.json: 3: red + g.png / t.zip: x/1.png"
