"""Release, submit, grade: notebooks graded in isolation, with records, a grade book and feedback.

A student uses :func:`assignment` for the public checks; an instructor uses ``rs-course grade``. The chain is
:mod:`~rs_course.grading.release` → :mod:`~rs_course.grading.intake` → :mod:`~rs_course.grading.grader`
(which runs code only in :mod:`~rs_course.grading.sandbox`) → :mod:`~rs_course.grading.records` → the
reports.
"""


def assignment(name):
    """The exam of an assignment; ``assignment("a3_super_resolution").check("psnr", psnr)`` checks in public.

    Args:
        name: Name of one of the course's assignments, or a Python file that defines ``exam``.
    """
    from rs_course.grading.exam import load

    return load(name)
