"""Batches made ahead by a thread: the same ones, in order, and its errors."""

import itertools
import threading

import pytest
import torch

from rs_course.training.feeding import AHEAD, ahead, feed


def test_items_keep_their_order():
    assert list(ahead(range(50))) == list(range(50))


def test_an_endless_source_is_made_a_few_items_ahead_only():
    made = []

    def source():
        for k in itertools.count():
            made.append(k)
            yield k

    items = ahead(source())
    assert [next(items) for _ in range(5)] == list(range(5))
    assert len(made) <= 5 + AHEAD + 1


@pytest.mark.parametrize("error", [ValueError("no such tile"), KeyboardInterrupt()])
def test_what_the_thread_raises_arrives_in_its_place(error):
    def source():
        yield 1
        raise error

    items = ahead(source())
    assert next(items) == 1
    with pytest.raises(type(error)):
        next(items)


def test_batches_arrive_on_the_device_as_they_were():
    batch = (torch.arange(3), torch.ones(2, 2))
    (arrived,) = feed([batch], torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(arrived, batch, strict=True))


def test_a_forgotten_iterator_ends_its_thread():
    before = set(threading.enumerate())
    for _ in range(5):
        items = ahead(iter(int, 1))  # without end
        next(items)
        del items
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()
