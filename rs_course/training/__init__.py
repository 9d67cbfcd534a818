"""Training of the mini models that ship with the course: one module per model, called by ``rs-course train``.

Every mini has a ``train(out, *, minutes, seed, resume=True, ...)``, with a recipe for the one loop of
:mod:`rs_course.training_loop`:

    out         folder of the model, of its training state, of ``log.jsonl`` and of samples
    minutes     wall time of the whole training, over all resumed runs
    seed        of weights, batches, steps and noise
    resume      go on where an interrupted training stopped
    data        EuroSAT, as a name or path that ``rs_course.datasets.load`` takes; of minis that learn from
                scenes alone the number of these
    simulated   tiles of the simulator's own choice
    scenes      scenes under many conditions (:func:`rs_course.training.training_sets.varied`)
    start       name or folder of a checkpoint of the same network to go on from
    base        name or folder of the generator that a mini stands on, and whose text tower speaks to both
    batch_size  tiles a step
    options     of :func:`rs_course.training.latent.fit`
"""
