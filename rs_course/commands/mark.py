"""``rs-course mark NAME``: mark prose and figures of a graded class in the browser, question by question.

rs-course mark a3_super_resolution
"""

import webbrowser
from pathlib import Path


def add_arguments(parser):
    parser.add_argument("assignment", help="name, e.g. a3_super_resolution; grade it first")
    parser.add_argument("--out", default="grades", help="folder that was graded into (default: grades)")
    parser.add_argument("--names", action="store_true", help="show whose answers they are (default: blind)")
    parser.add_argument("--release", metavar="NOTEBOOK", help="the student version, if it lies elsewhere")
    parser.add_argument("--source", metavar="NOTEBOOK", help="the source with the mark schemes, if elsewhere")
    parser.add_argument("--port", type=int, default=0, help="port of this machine (default: any free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(args):
    from rs_course.grading import marking, paths

    release = paths.release_notebook(args.assignment, args.release)
    source = paths.source_notebook(args.assignment, args.source, release)
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
