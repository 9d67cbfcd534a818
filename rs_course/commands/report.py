"""``rs-course report DIR``: weigh a study: figures and a one-page summary with the answer.

rs-course report runs/eurosat
"""

from __future__ import annotations

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("folder", type=Path, help="folder of a study: what `rs-course study --out` wrote")
    parser.add_argument("--out", type=Path, help="where to write (default: report/ in that folder)")


def run(args):
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
