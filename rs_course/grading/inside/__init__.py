"""Code that runs next to a student's code, inside the sandbox.

These files are bound into the sandbox one by one and import nothing of ``rs_course``: what lies here may be
read by every student, so it holds no expected value, no tolerance and no check.
"""
