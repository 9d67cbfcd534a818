"""``rs-course report DIR``: weigh a study: figures and a one-page summary with the answer.

rs-course report runs/eurosat
"""

from __future__ import annotations

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("folder", type=Path, help="folder of a study: what `rs-course study --out` wrote")
    parser.add_argument("--out", type=Path, help="where to write (default: report/ in that folder)")


def run(args):
    from rs_course.study import claims, records, report

    page = report.write(args.folder, args.out)
    described = report.described(args.folder)
    for finding in claims.judge(records.ledger(args.folder), described["extra"].get("claims", [])):
        print(finding)
    print(f"report: {page}")
