"""``rs-course check NOTEBOOK``: the public checks, run as the grader would run them.

rs-course check assignments/release/a3_super_resolution/a3_super_resolution.ipynb
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("notebook", help="your assignment notebook")
    parser.add_argument("--assignment", help="its name, if the file is called something else")
    parser.add_argument("--release", metavar="NOTEBOOK", help="the student version, if it lies elsewhere")
    parser.add_argument(
        "--exam", metavar="FILE", help="Python file that defines exam, for your instructor's own"
    )


def run(args):
    from rs_course.grading import notebooks, paths, sandbox
    from rs_course.grading.grader import Assignment, run_public

    notebook = Path(args.notebook)
    if not notebook.is_file():
        raise FileNotFoundError(f"There is no notebook {notebook}.")
    try:
        notebooks.read_file(notebook)
    except notebooks.Unreadable as error:
        raise ValueError(f"{notebook} would not be graded: {error}.") from None
    name = args.assignment or paths.assignment_name(notebook)
    release = paths.release_notebook(name, args.release)
    assignment = Assignment.load(release, paths.exam_source(name, args.exam, release), seed="public")
    isolation = paths.best_isolation()
    with sandbox.Sandbox(isolation, preload=assignment.exam.preload) as place:
        record = run_public(assignment, notebook.read_bytes(), place)
    for note in record["notes"]:
        print(f"  {note}")
    if record["reason"]:
        raise ValueError(f"{notebook} would not be graded: {record['reason']}.")
    right = True
    for question in record["questions"]:
        if question["message"]:
            print(f"✗ {question['question']}: {question['message']}")
            right = False
        for item in question["checks"]:
            done = item["score"] == item["points"]
            mark = "✓" if done else "…" if item["message"] in ("not answered", "not done yet") else "✗"
            print(f"{mark} {item['name']}{'' if done else ': ' + item['message']}")
            right &= done
    prose = [item["question"] for item in record["manual"] if item["score"] == 0.0]
    for question in prose:
        print(f"… {question}: not answered (graded by hand)")
    if isolation == sandbox.PROCESS:
        print(f"Run as a plain process: {sandbox.why_no_bubblewrap()}. The grader isolates it.")
    print("All public checks are right." if right and not prose else "There is something left to do.")
    return 0 if right else 1
