"""Whose a file is: names as learning systems, browsers and people write them."""

import unicodedata

import pytest

from rs_course.grading.handed_in import Owners
from rs_course.grading.roster import Student

CLASS = [
    Student("s1001", "Müller", "Jürgen", "jmueller@uni.example", "4711"),
    Student("s1002", "Nguyễn", "Thị Ánh", "anh@uni.example", "4712"),
    Student("s1003", "de la Cruz", "María", "mdelacruz@uni.example", "4713"),
    Student("10234", "Ng", "Amy", "amy.ng@uni.example", "4714"),
    Student("anna", "Berg", "Anna", "anna@uni.example", "11", aliases=("00777",)),
    Student("kim1", "Kim", "Min", "min1@uni.example", "4001"),
    Student("kim2", "Kim", "Min", "min2@uni.example", "4002"),
    Student("20065", "王", "小明", "wang@uni.example", ""),
]


def _owner(path, students=CLASS, others=()):
    found = Owners(students, "warmup", [path, *others]).find(path)
    return found.student.id if found.student else None


@pytest.mark.parametrize(
    ("path", "student"),
    [
        # Canvas
        ("mullerjurgen_4711_99001_warmup.ipynb", "s1001"),
        ("müllerjürgen_LATE_4711_99001_warmup-1.ipynb", "s1001"),
        ("export/delacruzmaria_4713_5_Final version (2).ipynb", "s1003"),
        ("kimmin_4002_7_warmup.ipynb", "kim2"),
        ("renamed_4712_7_warmup.ipynb", "s1002"),
        # Moodle, as folders and flat, by name, with a group, blind
        ("Jürgen Müller_120001_assignsubmission_file_/warmup.ipynb", "s1001"),
        ("Thị Ánh Nguyễn_120002_assignsubmission_file_warmup.ipynb", "s1002"),
        ("Anna Berg_120002_assignsubmission_onlinetext_/onlinetext.html", "anna"),
        ("Group A-Anna Berg_120003_assignsubmission_file_/warmup.ipynb", "anna"),
        ("Participant_4001_assignsubmission_file_/warmup.ipynb", "kim1"),
        ("Min Kim_4002_assignsubmission_file_/sub/folder/warmup.ipynb", "kim2"),
        ("María de la Cruz_88/assignsubmission_file_/warmup.ipynb", "s1003"),
        # Blackboard, Brightspace, Sakai
        ("Warm-up_mdelacruz_attempt_2026-11-20-10-00-00_warmup.ipynb", "s1003"),
        ("12-345 - Anna Berg - Nov 20, 2026 1000 AM/warmup.ipynb", "anna"),
        ("Warmup/Berg, Anna(anna)/Submission attachment(s)/warmup.ipynb", "anna"),
        # nbgrader, folders and files of people's own
        ("submitted/s1001/warmup/warmup.ipynb", "s1001"),
        ("s1003.ipynb", "s1003"),
        ("warmup_s1003_final (2).ipynb", "s1003"),
        ("warmup-s1003.zip/warmup.ipynb", "s1003"),
        ("Berg_Anna.ipynb", "anna"),
        ("anna-berg-warmup - Kopie.ipynb", "anna"),
        ("warmup anna.ipynb", "anna"),
        ("00777.ipynb", "anna"),
        ("10234_warmup.ipynb", "10234"),
        ("amy.ng_warmup.ipynb", "10234"),
        ("mdelacruz@uni.example_warmup.ipynb", "s1003"),
        ("Mueller_Juergen.ipynb", "s1001"),
        ("王小明_warmup.ipynb", "20065"),
        (unicodedata.normalize("NFD", "Jürgen Müller_5_assignsubmission_file_/warmup.ipynb"), "s1001"),
        # Nobody: pieces of numbers, strangers, namesakes, short numbers, first names
        ("wangli_1102345_7788990_warmup.ipynb", None),
        ("wangli_99_10234_warmup.ipynb", None),
        ("x1102345.ipynb", None),
        ("warmup_110234.ipynb", None),
        ("kimmin_4009_7_warmup.ipynb", None),
        ("Min Kim/warmup.ipynb", None),
        ("warmup_2026-11-20.ipynb", None),
        ("Anna_Schmidt.ipynb", None),
        ("s1001_s1003.ipynb", None),
        ("warmup.ipynb", None),
    ],
)
def test_owner(path, student):
    assert _owner(path) == student


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("bergAnna_11_101_s1001.ipynb", "anna"),
        ("berganna_11_101_mullerjurgen_4711_9_warmup.ipynb", "anna"),
        ("Anna Berg_5_assignsubmission_file_/s1001.ipynb", "anna"),
        ("Anna Berg_5_assignsubmission_file_Jürgen Müller_4711_assignsubmission_file_warmup.ipynb", "anna"),
        ("Anna Berg_5_assignsubmission_file_/submitted/s1001/warmup/warmup.ipynb", "anna"),
        ("anna/warmup/s1001.ipynb", "anna"),
        ("anna.zip/s1001/warmup.ipynb", "anna"),
        ("W_anna_attempt_2026-11-20-10-00-00_x_s1001_attempt_2026-11-20-10-00-00_y.ipynb", "anna"),
    ],
)
def test_the_place_decides_and_a_classmates_name_is_a_note(path, student):
    found = Owners(CLASS, "warmup", [path]).find(path)
    assert found.student.id == student
    assert any("s1001" in note for note in found.notes)


def test_a_strangers_folder_is_nobodys_whatever_lies_in_it():
    paths = ["s1001/warmup.ipynb", "Zoe Xu/s1003.ipynb", "zoe.zip/s1003.ipynb"]
    owners = Owners(CLASS, "warmup", paths)
    assert owners.find(paths[0]).student.id == "s1001"
    assert [owners.find(path).student for path in paths[1:]] == [None, None]
    # A folder that is nobody's beside files: it holds the class.
    assert _owner("Section 2/s1003.ipynb") == "s1003"


def test_numbers_of_another_system_are_no_evidence():
    """A participant's number is not a Canvas number that happens to be the same."""
    canvas = [Student("a", "Berg", "Anna", lms_id="4001", lms="canvas"), Student("b", "Lee", "Bob")]
    assert _owner("Bob Lee_4001_assignsubmission_file_/w.ipynb", canvas) == "b"
    unknown = [Student("a", "Berg", "Anna", lms_id="4001"), Student("b", "Lee", "Bob")]
    assert _owner("Bob Lee_4001_assignsubmission_file_/w.ipynb", unknown) is None
    moodle = [Student("a", "Kim", "Min", lms_id="4001", lms="moodle")]
    assert _owner("Min Kim_4009_assignsubmission_file_/w.ipynb", moodle) is None


def test_without_a_roster_everyone_keeps_a_name():
    owners = Owners([], "warmup")
    assert owners.find("berganna_11_101_warmup-2.ipynb").label == "berganna_11"
    assert owners.find("Min Kim_4001_assignsubmission_file_/warmup.ipynb").label == "Min Kim_4001"
    assert owners.find("anna/warmup/warmup.ipynb").label == "anna"
    assert owners.find("unknown_person_warmup.ipynb").label == "unknown_person"


def test_a_team_hands_in_under_both_names():
    team = [Student("s1001", "Ay", "Ana", team="t"), Student("s1002", "Bee", "Bob", team="t")]
    assert _owner("s1001_s1002.ipynb", team) == "s1001"
