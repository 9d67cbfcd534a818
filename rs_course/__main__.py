"""``python -m rs_course``: the command line, where no script ``rs-course`` is on the path."""

import sys

from rs_course.cli import main

sys.exit(main())
