"""Exam of A2, classification with synthetic data: measure it, read a ledger, judge tiles, and use them.

Expected values of F1 and the confusion matrix come from scikit-learn, of the interval from scipy, of the
worth in real tiles from :mod:`rs_course.study`. Scenes of the simulated Earth play the real data, and
``mini-text2earth`` hands over generated tiles, some of them not what they claim to be.
"""

from __future__ import annotations

from rs_course.grading.exam import Exam
from rs_course.grading.exams.cl_evidence import INTERVAL, LEAKS, SCORES
from rs_course.grading.exams.cl_ledger import VERDICT, WORTH
from rs_course.grading.exams.cl_tiles import CLASSIFIER, USABLE
from rs_course.grading.sandbox import Limits

exam = Exam(
    name="a2_classification",
    title="A2 Classification with synthetic data",
    checks=(*SCORES, *WORTH, *INTERVAL, *VERDICT, *LEAKS, *USABLE, *CLASSIFIER),
    leaderboard=("classifier.hidden_scenes", "accuracy on hidden scenes"),
    preload=("numpy", "torch", "torch.nn.functional"),
    limits=Limits(step_s=60.0, wall_s=600.0),
    explain=("explain", "classifier", "train"),
)
