"""Grids of experiments, and what they show."""

from __future__ import annotations

import os
from pathlib import Path


def study_arguments(parser):
    parser.add_argument("config", help="a TOML file, or the name of one in data/studies")
    parser.add_argument("--out", type=Path, required=True, help="folder of the records and the ledger")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, default=0, help="local worker processes (default: this process)"
    )
    where.add_argument("--scheduler", help="address of a Dask scheduler, such as tcp://10.0.0.1:8786")
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="changes",
        help="change a value of the file by its dotted name: -p base.seed 7; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="say how many tasks there are and what they cost, and stop"
    )


def study(args):
    """``rs-course study``: run a grid of experiments into one ledger.

        rs-course study eurosat --out runs/eurosat --workers 2
        rs-course study my_study.toml --out runs/mine --scheduler tcp://10.0.0.1:8786

    What is finished is kept: after an interruption, of any kind, the same command goes on.
    """
    # One thread per task; libraries read this when they are loaded, which is after this line.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rs_course import jobs, study
    from rs_course.study.plan import cost_table

    plan = study.read(args.config, {name: _value(text) for name, text in args.changes})
    if args.dry_run:
        print(cost_table(plan))
        return
    ledger = study.run(
        plan, args.out, workers=args.workers, scheduler=args.scheduler, progress=jobs.print_progress
    )
    print(f"study: {len(ledger)} rows in {args.out / 'ledger.parquet'}")
    print(f"       rs-course report {args.out}  weighs them")


def _value(text: str):
    """A number, truth or list as TOML writes it, otherwise the text itself."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def report_arguments(parser):
    parser.add_argument("folder", type=Path, help="folder of a study: what `rs-course study --out` wrote")
    parser.add_argument("--out", type=Path, help="where to write (default: report/ in that folder)")


def report(args):
    """``rs-course report DIR``: weigh a study: figures and a one-page summary with the answer.

    rs-course report runs/eurosat
    """
    from rs_course.study import claims, freezing, hypotheses, report, results

    page = report.write(args.folder, args.out)
    described = report.described(args.folder)
    ledger, extra = results.ledger(args.folder), described["extra"]
    for finding in claims.judge(ledger, extra.get("claims", [])):
        print(finding)
    if "hypotheses" in extra:
        tested = ledger[ledger["part"] == "test"]
        settings = freezing.read(args.folder)["settings"]
        verdicts = hypotheses.judge(tested, extra["hypotheses"], extra.get("judged"), settings)
        lines = hypotheses.answers(verdicts, extra["answer"]).values() if "answer" in extra else verdicts
        print(*lines, sep="\n")
    print(f"report: {page}")
