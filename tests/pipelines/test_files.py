"""A file is replaced whole or not at all."""

import pytest

from components.shared import files


def test_a_reader_sees_the_old_content_until_all_is_written(tmp_path):
    path = tmp_path / "new" / "a.txt"
    files.write_text(path, "old")
    with files.replacing(path) as partial:
        partial.write_bytes(b"new")

        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ValueError, match="half"), files.replacing(path) as partial:
        partial.write_text("ha")
        raise ValueError("half")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
