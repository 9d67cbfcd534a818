"""``rs-course release``: make the student and the solution version of the assignments from their sources.

rs-course release                          all assignments
rs-course release --check                  fail if a student version is out of date
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("names", nargs="*", help="assignments (default: all)")
    parser.add_argument("--source", default="assignments/source", help="folder of the source notebooks")
    parser.add_argument("--release", default="assignments/release", help="folder for the student versions")
    parser.add_argument("--solution", default="build/solution", help="folder for the solution versions")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if a release is out of date"
    )
    parser.add_argument(
        "--gradescope",
        metavar="FOLDER",
        help="also write an autograder zip for Gradescope per named assignment into this folder",
    )
    parser.add_argument(
        "--seed-file",
        default="grades/secret_seed.txt",
        metavar="FILE",
        help="secret seed of the hidden inputs, for --gradescope (default: grades/secret_seed.txt)",
    )


def run(args):
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
    from rs_course.grading import gradescope, paths

    release = Path(args.release, name, f"{name}.ipynb")
    seed = paths.secret_seed(Path(args.seed_file))
    exam = paths.exam_source(name, None, release.resolve())
    return gradescope.build(Path(args.gradescope, f"{name}.zip"), name, release, exam, seed, CPU_INDEX)
