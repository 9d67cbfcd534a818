"""nbval runs the notebooks in the surroundings in which their outputs were stored."""

import os

from rs_course.execution.runner import QUIET

os.environ.update(QUIET)
