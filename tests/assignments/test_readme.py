"""The six commands of the instructor's page, in its own words: from a roster to files for the LMS."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import zipfile

import pytest

from rs_course.cli import main

from .conftest import SOURCES

NAME = "a3_super_resolution"
FOLDER = SOURCES.parent


def commands():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Fifteen minutes\n\n```bash\n(.*?)```", page, re.S)
    return [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").strip().splitlines()]


def hand_in():
    """What Canvas exports: ada's file is the solution, marked late; ben's is the untouched release."""
    files = {
        "adaay_LATE_11_501_a3.ipynb": f"build/solution/{NAME}/{NAME}.ipynb",
        "benbee_12_502_a3.ipynb": f"handout/{NAME}.ipynb",
    }
    with zipfile.ZipFile("submissions.zip", "w") as archive:
        for name, path in files.items():
            with open(path, "rb") as stream:
                archive.writestr(zipfile.ZipInfo(name, (2026, 12, 3, 11, 0, 0)), stream.read())
    with open("roster.csv", "w", encoding="utf-8") as stream:
        stream.write("id,last_name,first_name,lms_id\nada,Ay,Ada,11\nben,Bee,Ben,12\ncem,Cee,Cem,13\n")


# question, points, words of its mark scheme
TYPED = (("interpretation", "3", "paired standard error"), ("explain", "2", "without it"))


def mark(words):
    """Points for both texts, typed into the pages that the command serves."""
    command = [sys.executable, "-u", "-m", "rs_course.cli", *words, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().strip()
            for question, points, scheme in TYPED:
                with urllib.request.urlopen(address + question, timeout=30) as page:
                    keys = re.findall(r'data-key="(\w+)"', text := page.read().decode())
                assert len(keys) == 1 and not re.search(r"\bada\b", text) and scheme in text
                said = {"key": keys[0], "points": points, "comment": "good", "criteria": []}
                headers = {"Content-Type": "application/json"}
                data = json.dumps(said).encode()
                request = urllib.request.Request(address + question, data, headers)
                with urllib.request.urlopen(request, timeout=30) as answer:
                    assert answer.read().startswith(b"saved")
        finally:
            server.terminate()


@pytest.mark.slow
def test_six_commands(place, tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "assignments")
    monkeypatch.chdir(tmp_path)
    lines = commands()
    assert [line[0] for line in lines] == [
        *("rs-course", "cp", "rs-course"),
        "xdg-open",
        *("rs-course", "rs-course"),
    ]
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    for program, *words in lines:
        if words[0] == "mark":
            mark(words)
        elif program == "rs-course":
            assert main(words) == 0
        elif program == "cp":
            _, source, target = words
            shutil.copytree(source, target)
            hand_in()
        elif program == "xdg-open":
            with open(words[0], encoding="utf-8") as page:
                assert "3 students" in page.read()
    with open(f"grades/{NAME}/grades.csv", encoding="utf-8", newline="") as stream:
        rows = {row["student_id"]: row for row in csv.DictReader(stream)}
    points = {student: (float(row["raw_score"]), float(row["score"])) for student, row in rows.items()}
    assert points == {"ada": (28.0, 25.2), "ben": (0.0, 0.0), "cem": (0.0, 0.0)}
    with open(f"grades/{NAME}/canvas.csv", newline="", encoding="utf-8") as stream:
        table = list(csv.reader(stream))
    assert table[0][5] == "A3 (98765)"
    assert {row[1]: row[5] for row in table[2:]} == {"11": "25.20", "12": "0.00", "13": "0.00"}
    with zipfile.ZipFile(f"grades/{NAME}/canvas_feedback.zip") as archive:
        assert archive.namelist() == ["adaay_LATE_11_501_a3.ipynb", "benbee_12_502_a3.ipynb"]
