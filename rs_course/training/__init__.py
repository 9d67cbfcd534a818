"""Training of the mini models that ship with the course: one module per model, called by ``rs-course train``.

Every module has ``train(out, *, minutes, seed, resume=True, ...)``, with a recipe for the one loop of
:mod:`rs_course.training_loop`:

    out       folder of the model, of its training state, of ``log.jsonl`` and of samples
    minutes   wall time of the whole training, over all resumed runs
    seed      of weights, batches, steps and noise
    resume    go on where an interrupted training stopped
"""
