"""A text is cleaned alike in Python and in SQL."""

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from components.shared.blank import BLANKS, clean, clean_sql

LETTERS = ["a", "~", "!", "\x7f", "\u00e9", "e\u0301", "\u0301", "\u1e9b\u0323"]
TEXTS = st.lists(st.sampled_from([*BLANKS, *LETTERS])).map("".join)


def test_every_white_space_of_python_is_a_blank():
    assert [chr(n) for n in range(0x110000) if chr(n).isspace() and chr(n) not in BLANKS] == []


@given(text=TEXTS | st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")))
def test_sql_and_python_clean_alike_and_a_clean_text_stays_as_it_is(text: str):
    with duckdb.connect() as engine:
        [(cleaned,)] = engine.execute(f"SELECT {clean_sql('x')} FROM (SELECT ? AS x)", [text]).fetchall()

    assert cleaned == clean(text)
    assert clean(cleaned) == cleaned
