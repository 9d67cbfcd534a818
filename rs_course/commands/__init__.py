"""The ``rs-course`` subcommands; see :mod:`rs_course.cli`."""
