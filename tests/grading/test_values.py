"""What crosses the border: plain values and nothing else; and how values are compared."""

import json
import math

import numpy as np
import pytest

from rs_course.grading.exam import Check, SeededCheck, Wrong, compare
from rs_course.grading.inside import codec

VALUES = [
    None,
    True,
    -3,
    0.1,
    float("inf"),
    "é",
    [1, [2.5, "x"]],
    (1, (2, 3)),
    {"a": 1, "b": {"c": [True]}},
    {1: "one"},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values_survive(value):
    assert codec.decode(json.loads(json.dumps(codec.encode(value)))) == value


@pytest.mark.parametrize("dtype", sorted(codec.DTYPES))
def test_arrays_survive_bit_for_bit(dtype):
    array = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    back = codec.decode(json.loads(json.dumps(codec.encode(array))))
    assert back.dtype == array.dtype and np.array_equal(back, array) and back.flags.writeable


def test_numbers_in_unusual_containers_are_handed_in_as_usual_ones():
    assert codec.decode(codec.encode(np.array([1, 2.5], dtype=object))) == [1, 2.5]
    assert codec.decode(codec.encode(range(3))) == [0, 1, 2]
    back = codec.decode(codec.encode(np.longdouble(0.5)))
    assert back.dtype == np.float64 and back == 0.5
    for endless in (range(10**7), np.zeros(10**6, dtype=object)):
        with pytest.raises(codec.NotPlain, match="cannot be handed in"):
            codec.encode(endless)


def test_tensors_stay_tensors():
    import torch

    tensor = torch.randn(2, 3, dtype=torch.float64).T
    back = codec.decode(codec.encode(tensor))
    assert isinstance(back, torch.Tensor) and torch.equal(back, tensor)
    with pytest.raises(codec.NotPlain, match="bfloat16"):
        codec.encode(tensor.bfloat16())


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"bytes", 1j, np.array([object()]), np.array(["text"]), len, codec]
)
def test_anything_else_is_refused(value):
    with pytest.raises(codec.NotPlain):
        codec.encode(value)


def test_a_whole_number_that_python_cannot_write_is_refused():
    with pytest.raises(codec.NotPlain, match="whole number"):
        codec.encode([-(10**5000)])
    assert json.loads(json.dumps(codec.encode(2**4095))) == 2**4095


@pytest.mark.parametrize(
    "payload",
    [
        {"$array": "object", "shape": [1], "data": "AAAAAAAAAAA="},
        {"$array": "float64", "shape": [10**15], "data": ""},
        {"$array": "float64", "shape": [-1], "data": ""},
        {"$array": "uint8", "shape": [True], "data": "AA=="},
        {"$array": "uint8", "shape": [1] * 9, "data": "AA=="},
        {"$array": "bool", "shape": [1], "data": "Ag=="},
        {"$array": "uint8", "shape": [1], "data": "!"},
        {"$array": "uint8", "shape": [1]},
        {"$float": "1e9999"},
        {"$pickle": "x"},
        {"$dict": [[[1], 2]]},
        {"$dict": [1]},
        {"plain": 1},
    ],
)
def test_forged_payloads_are_refused(payload):
    with pytest.raises(ValueError):
        codec.decode(payload)


def test_equal_up_to_tolerance():
    compare(np.float32(1.00001), 1.0, 1e-4)
    compare([1.0, 2.0], np.array([1, 2]), 1e-9)
    compare({"a": 1, "b": [2, 3]}, {"a": 1.0, "b": np.array([2, 3])}, 1e-9)
    compare(math.inf, math.inf, 1e-4)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "nothing was returned"),
        ("1", "is a str"),
        ([[1.0, 2.0]], "another shape"),
        ([1.0, float("nan")], "NaN"),
        ([2.0, 4.0], "doubled"),
        ([9.0, 9.0], "not the expected"),
        ([[1.0], [1.0, 2.0]], "differently shaped"),
        ({"a": 1}, "is a dict"),
        (10**400, "too large"),
        ([10**400, 1.0], "too large"),
    ],
)
def test_wrong_values_are_named(value, sentence):
    with pytest.raises(Wrong, match=sentence):
        compare(value, np.array([1.0, 2.0]), 1e-6, lambda: {"you doubled it": np.array([2.0, 4.0])})


@pytest.mark.parametrize("value", [{1: 1}, {"1": 1, "2": 2}, {}, {("1",): 1}, [1], "1", None])
def test_a_dict_needs_the_very_keys(value):
    with pytest.raises(Wrong, match="must be a dict with the keys"):
        compare(value, {"1": 1}, 1e-6)


@pytest.mark.parametrize("public", [True, False])
def test_a_shape_of_the_answers_choice_shows_in_public_checks_only(public):
    """Through the shape of its result an answer could write down what it was given."""
    check = Check("a", "a", 1, "f(x)", lambda rng: {"x": 1.0}, lambda x: np.zeros(2), public=public)
    with pytest.raises(Wrong) as wrong:
        SeededCheck(check, "secret").judge(np.zeros((0, 314159, 2)))
    assert ("314159" in wrong.value.message) is public
    assert "another shape than expected" in wrong.value.message
