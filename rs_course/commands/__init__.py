"""One module per ``rs-course`` subcommand; see :mod:`rs_course.cli`."""
