"""The exams of the course's assignments; see :mod:`rs_course.grading.exam`."""
