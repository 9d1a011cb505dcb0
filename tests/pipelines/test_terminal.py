"""What tables, logs and file names hold can't steer the terminal."""

from rich.table import Table

from pipelines.command import terminal
from tests.end_to_end.command import perennial
from tests.pipelines.test_initialise import write_csv

HOSTILE = "a\x1b[2Jb\x07\x9b31mc\rd"
SHOWN = r"a\x1b[2Jb\x07\x9b31mc\x0dd"


def test_a_console_shows_control_characters_and_keeps_its_own_styles(capsys):
    console = terminal.console()
    table = Table("column")
    table.add_row(HOSTILE)
    console.print(HOSTILE)
    console.print(f"[bold]{HOSTILE}[/]")
    console.print(table)

    printed = capsys.readouterr().out
    assert printed.count(SHOWN) == 3
    assert not set(HOSTILE) & {"\x1b", "\x07", "\x9b", "\r"} & set(printed)


def test_lines_and_tabs_are_left_as_they_are():
    assert terminal.visible("a\tb\nc é 東") == "a\tb\nc é 東"


def test_the_command_shows_no_control_character_of_a_table(tmp_path):
    rows = [[f"{HOSTILE}{n % 3}", n * 7 % 31 / 4, ("no", "yes", "no")[n % 3 - n % 2]] for n in range(240)]
    write_csv(
        tmp_path / "rows.csv", {"x": [row[1] for row in rows], "c": [row[0] for row in rows], "y": [HOSTILE] * 240}
    )

    done = perennial("init", "rows.csv", "--label", "y", cwd=tmp_path, expect=2)

    assert "\x1b" not in done.stdout + done.stderr
    assert "[2J" in done.stderr
