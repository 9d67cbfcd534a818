"""What an instructor does: make the versions of an assignment, grade a class, mark by hand."""

from __future__ import annotations

import os
import webbrowser
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def grade_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course grade``."""
    add = parser.add_argument
    add("submissions", help="nbgrader's submitted/ folder, a folder of notebooks, or an LMS zip")
    add("--assignment", required=True, help="name, e.g. a3_super_resolution")
    add("--roster", help="CSV with id, last_name, first_name, email")
    add("--out", default="grades", help="folder for records and reports (default: grades)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="submissions at the same time")
    add("--scheduler", metavar="ADDRESS", help="grade on a Dask cluster, e.g. tcp://host:8786")
    add(
        "--isolation", choices=["bubblewrap", "container", "process"], default="bubblewrap",
        help="container: podman or docker, where bubblewrap is missing; process: no isolation, only for "
        "submissions that you trust",
    )  # fmt: skip
    add("--due", help="2026-12-01T23:59+01:00")
    add("--late", help="10%%/day, or 10%%/day,50%% to take at most half")
    add("--grace", type=float, default=0.0, metavar="MINUTES", help="time after --due that is free")
    add(
        "--extensions", metavar="FILE", help="CSV with student_id and due, days or handed_in (and assignment)"
    )
    add(
        "--late-days", type=int, default=0, metavar="N",
        help="late days of each student for all assignments in OUT together, which cost nothing",
    )  # fmt: skip
    add(
        "--trust-times", nargs="?", const="UTC", metavar="ZONE",
        help="the dates of files are when they were handed in (a drop folder, not an export); times "
        "without a zone are in this one, e.g. Europe/Berlin (default: UTC)",
    )  # fmt: skip
    add(
        "--nbgrader",
        action="store_true",
        help="also write OUT/nbgrader, a course folder that nbgrader's formgrader opens (needs nbgrader)",
    )
    add(
        "--csv", action="append", metavar="LMS",
        help="also write final grades and a zip of feedback for canvas, moodle, blackboard or d2l",
    )  # fmt: skip
    add("--column", metavar="NAME", help="the grade column in the LMS, as its export calls it")
    add("--question", action="append", metavar="ID", help="grade only this question again")
    add("--force", action="store_true", help="grade everything again")
    add("--release", metavar="NOTEBOOK", help="the student version, if it lies elsewhere")
    add("--exam", metavar="FILE", help="Python file that defines exam, for your own assignment")
    add("--seed-file", metavar="FILE", help="secret seed of hidden inputs (default: OUT/secret_seed.txt)")


def grade(args: argparse.Namespace):
    """``rs-course grade SUBMISSIONS --assignment NAME``: grade a class in isolation; grades and feedback.

    rs-course grade submissions.zip --assignment a3_super_resolution --roster class.csv
    rs-course grade submissions --assignment a2_classification --due 2026-12-01T23:59+01:00 --late 10%/day
    """
    from rs_course import jobs
    from rs_course.grading import batch, formgrader, intake, lms, notebooks, reports, roster
    from rs_course.grading.grader import Assignment
    from rs_course.grading.policy import LatePolicy, read_extensions, spent_late_days, time_zone
    from rs_course.grading.release import exam_source, release_notebook, secret_seed

    if args.nbgrader:
        formgrader.require()
    for system in args.csv or ():
        lms.require(system, bool(args.roster))
    release = release_notebook(args.assignment, args.release)
    exam = exam_source(args.assignment, args.exam, release)
    seed = secret_seed(Path(args.seed_file or Path(args.out, "secret_seed.txt")))
    if not args.scheduler:
        batch.prepare(args.isolation, args.workers)
    assignment = Assignment.load(release, exam, seed)
    if unknown := set(args.question or ()) - set(assignment.exam.questions):
        raise ValueError(
            f"There is no question {min(unknown)!r}; there are {', '.join(assignment.exam.questions)}."
        )
    policy = LatePolicy.parse(args.due, args.late, args.grace)
    students = roster.read(args.roster) if args.roster else []
    zone = policy.due.tzinfo if policy.due else UTC
    policy = replace(
        policy,
        extensions=read_extensions(args.extensions, args.assignment, students, zone)
        if args.extensions
        else {},
        pool=args.late_days,
        spent=spent_late_days(Path(args.out), args.assignment, policy.due) if args.late_days else {},
    )
    folder = Path(args.out, args.assignment)
    submissions = intake.collect(
        args.submissions,
        args.assignment,
        students,
        answers=notebooks.marks(assignment.cells),
        assigned=intake.read_assigned(folder / "unassigned.csv"),
        trust_times=time_zone(args.trust_times) if args.trust_times else None,
    )
    if not submissions:
        raise ValueError(
            f"{args.submissions} holds no notebook of {args.assignment}, and there is no roster."
        )
    for submission in submissions:
        submission.notes += filter(None, [policy.doubt(submission)])
    plan = batch.Plan(
        assignment, folder, args.isolation, frozenset(args.question) if args.question else None, args.force
    )
    graded = batch.run(
        plan, submissions, workers=args.workers, scheduler=args.scheduler, progress=jobs.print_progress
    )
    if not students:  # Who is in this collection alone is not the class.
        graded += batch.records_of_others(plan, submissions)
    unassigned = intake.write_unassigned(folder / "unassigned.csv", submissions)
    course = Path(args.out, "nbgrader") if args.nbgrader else None
    rows = reports.write(folder, assignment, graded, students, policy, course=course)
    failed = [row for row in rows if row["status"] not in ("graded", "needs manual grading")]
    by_hand = sum(row["status"] == "needs manual grading" for row in rows)
    print(f"{len(rows)} students: {folder / 'grades.csv'}, {folder / 'summary.html'}, {folder / 'feedback'}/")
    if unassigned:
        print(f"{unassigned} files fit nobody: write the id of the student into {folder / 'unassigned.csv'}")
    if by_hand:
        elsewhere = "" if args.out == "grades" else f" --out {args.out}"
        print(f"{by_hand} wait for marks: “rs-course mark {args.assignment}{elsewhere}”, then this again")
    sources = {record["student"]: record.get("source", "") for record in graded}
    for system in args.csv or ():
        title = assignment.exam.title
        for line in lms.write(
            folder, system, rows, students, title=title, column=args.column, sources=sources
        ):
            print(line)
    if course:
        print(f"{course}: run “jupyter lab” in this folder; formgrader is in the menu Nbgrader")
        for student in formgrader.disagreeing(course, assignment, rows):
            print(f"  formgrader counts other points for {student}: automatic ones were changed there")
    for row in failed:
        print(f"  not graded: {row['student_id']}: {row['reason']}")
    if any(row["status"] == "grader error" for row in rows):
        print("a fault of this machine or of the exam is no grade: run the command again for these students")
        return 1
    return 0


def mark_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course mark``."""
    add = parser.add_argument
    add("assignment", help="name, e.g. a3_super_resolution; grade it first")
    add("--out", default="grades", help="folder that was graded into (default: grades)")
    add("--names", action="store_true", help="show whose answers they are (default: blind)")
    add("--release", metavar="NOTEBOOK", help="the student version, if it lies elsewhere")
    add("--source", metavar="NOTEBOOK", help="the source with the mark schemes, if elsewhere")
    add("--port", type=int, default=0, help="port of this machine (default: any free one)")
    add("--no-browser", action="store_true", help="only print the address")


def mark(args: argparse.Namespace):
    """``rs-course mark NAME``: mark prose and figures of a graded class in the browser, question by question.

    rs-course mark a3_super_resolution
    """
    from rs_course.grading import marking
    from rs_course.grading.release import release_notebook, source_notebook

    release = release_notebook(args.assignment, args.release)
    source = source_notebook(args.assignment, args.source, release)
    asked = marking.questions(release.read_bytes(), source.read_bytes() if source else None)
    if not asked:
        raise ValueError(f"{args.assignment} has no question that is marked by hand.")
    if source is None:
        print("There is no source notebook here, so the pages show no mark scheme; --source names it.")
    work = marking.Marking(Path(args.out, args.assignment), asked, names=args.names)
    server, address = marking.serve(work, args.port)
    print(f"{address}\nWhat you type is in {work.folder / 'manual.csv'} at once; Ctrl-C ends.", flush=True)
    if not args.no_browser:
        webbrowser.open(address)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Run “rs-course grade” again: it takes in the points.")
    return 0


def release_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course release``."""
    add = parser.add_argument
    add("names", nargs="*", help="assignments (default: all)")
    add("--source", default="assignments/source", help="folder of the source notebooks")
    add("--release", default="assignments/release", help="folder for the student versions")
    add("--solution", default="build/solution", help="folder for the solution versions")
    add("--check", action="store_true", help="change nothing; fail if a release is out of date")
    add(
        "--gradescope",
        metavar="FOLDER",
        help="also write an autograder zip for Gradescope per named assignment into this folder",
    )
    add(
        "--seed-file", default="grades/secret_seed.txt", metavar="FILE",
        help="secret seed of the hidden inputs, for --gradescope (default: grades/secret_seed.txt)",
    )  # fmt: skip


def release(args: argparse.Namespace):
    """``rs-course release``: make the student and the solution version of the assignments from their sources.

    rs-course release                          all assignments
    rs-course release --check                  fail if a student version is out of date
    """
    import nbformat

    from rs_course.grading import release

    sources = sorted(Path(args.source).glob("*/*.ipynb"))
    if not sources:
        raise FileNotFoundError(f"There is no notebook in {args.source}/NAME/.")
    known = {path.parent.name for path in sources}
    if unknown := set(args.names) - known:
        raise ValueError(
            f"There is no assignment {min(unknown)!r} in {args.source}; there are {', '.join(sorted(known))}."
        )
    stale = []
    for source in sources:
        if args.names and source.parent.name not in args.names:
            continue
        if args.check:
            target = Path(args.release, source.parent.name, source.name)
            made = nbformat.writes(release.release(release.load(source))) + "\n"
            if not target.is_file() or target.read_text(encoding="utf-8") != made:
                stale.append(source.parent.name)
            continue
        for written in release.make(source, Path(args.release), Path(args.solution)):
            print(written)
        if args.gradescope:
            print(_autograder(source.parent.name, args))
    if stale:
        raise ValueError(f"Out of date: {', '.join(stale)}; run “rs-course release”.")


def _autograder(name, args):
    from rs_course.commands.setup import CPU_INDEX
    from rs_course.grading import gradescope
    from rs_course.grading.release import exam_source, secret_seed

    release = Path(args.release, name, f"{name}.ipynb")
    seed = secret_seed(Path(args.seed_file))
    exam = exam_source(name, None, release.resolve())
    return gradescope.build(Path(args.gradescope, f"{name}.zip"), name, release, exam, seed, CPU_INDEX)
