"""Training of the mini models that ship with the course: one module per model, called by ``rs-course train``.

Every module has ``train(out, *, minutes, seed, resume=True, ...)``: it trains for at most ``minutes`` of wall
time, saves its state under ``out`` so that the same call goes on where an interrupted one stopped, and writes
the model there.
"""
