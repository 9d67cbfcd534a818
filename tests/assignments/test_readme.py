"""The six commands of the instructor's page, in its own words: from a roster to grades."""

import csv
import re
import shlex
import shutil
import zipfile

import pytest

from rs_course.cli import main

from .conftest import SOURCES

NAME = "a3_super_resolution"
FOLDER = SOURCES.parent


def commands():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## For instructors\n\n```bash\n(.*?)```", page, re.S)
    return [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").strip().splitlines()]


def hand_in():
    """What Canvas exports: ada's file is the solution, marked late; ben's is the untouched release."""
    files = {
        "adaay_LATE_11_501_a3.ipynb": f"build/solution/{NAME}/{NAME}.ipynb",
        "benbee_12_502_a3.ipynb": f"handout/{NAME}.ipynb",
    }
    with zipfile.ZipFile("canvas.zip", "w") as archive:
        for name, path in files.items():
            with open(path, "rb") as stream:
                archive.writestr(zipfile.ZipInfo(name, (2026, 12, 3, 11, 0, 0)), stream.read())
    with open("roster.csv", "w") as stream:
        stream.write("id,last_name,first_name,lms_id\nada,Ay,Ada,11\nben,Bee,Ben,12\ncem,Cee,Cem,13\n")


def fill_in(path):
    with open(path, newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["student_id"], row["points"]) for row in table] == [("ada", "")]
    table[0]["points"] = "3"
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, table[0])
        writer.writeheader()
        writer.writerows(table)


@pytest.mark.slow
def test_six_commands(place, tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "assignments")
    monkeypatch.chdir(tmp_path)
    lines = commands()
    assert [line[0] for line in lines] == [
        *("rs-course", "cp", "rs-course"),
        "xdg-open",
        "$EDITOR",
        "rs-course",
    ]
    for program, *words in lines:
        if program == "rs-course":
            assert main(words) == 0
        elif program == "cp":
            _, source, target = words
            shutil.copytree(source, target)
            hand_in()
        elif program == "xdg-open":
            with open(words[0], encoding="utf-8") as page:
                assert "3 students" in page.read()
        else:
            fill_in(words[0])
    with open(f"grades/{NAME}/grades.csv", newline="") as stream:
        rows = {row["student_id"]: row for row in csv.DictReader(stream)}
    points = {student: (float(row["raw_score"]), float(row["score"])) for student, row in rows.items()}
    assert points == {"ada": (25.0, 22.5), "ben": (0.0, 0.0), "cem": (0.0, 0.0)}
