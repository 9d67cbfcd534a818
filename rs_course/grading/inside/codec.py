"""Plain values as JSON: what crosses the border between the grader and a student's code, in both directions.

Numbers, strings, lists, tuples, dicts, numpy arrays and torch tensors, nothing else. Reading never builds
an object of a class that the sender names, so nothing that a student's code writes can run in the grader,
as a pickle would.

>>> decode(encode({"size": (64, 64), "gain": 0.5}))
{'size': (64, 64), 'gain': 0.5}
"""

import base64
import math
import sys

import numpy as np

_WIDTHS = {"uint": (8, 16, 32, 64), "int": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = frozenset({"bool", *(f"{kind}{width}" for kind in _WIDTHS for width in _WIDTHS[kind])})
DEPTH, DIMENSIONS, LENGTH = 12, 8, 100_000
# Python refuses to write whole numbers of more than 4300 digits.
BITS = 4096


class NotPlain(TypeError):
    """A value that has no plain form; the message says which."""


def encode(value, depth=0):
    """Turn a value into what :mod:`json` can write.

    Raises:
        NotPlain: An object of any other type, or nesting deeper than ``DEPTH``.
    """
    if depth > DEPTH:
        raise NotPlain("the value is nested too deeply")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":  # numbers of Python in an array, or anything
            return encode(value.tolist(), depth)
        return _encode_array("array", value.astype(np.float64) if value.dtype == np.longdouble else value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if str(value.dtype).removeprefix("torch.") not in DTYPES:
            raise NotPlain(f"a tensor of dtype {value.dtype} cannot be handed in")
        return _encode_array("tensor", value.detach().cpu().numpy())
    if isinstance(value, int):
        if int.bit_length(value) > BITS:
            raise NotPlain(f"a whole number of more than {BITS} bits cannot be handed in")
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple | dict | range) and len(value) > LENGTH:
        raise NotPlain(f"a {type(value).__name__} of {len(value)} items cannot be handed in; return an array")
    if isinstance(value, list | range):
        return [encode(item, depth + 1) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [encode(item, depth + 1) for item in value]}
    if isinstance(value, dict):
        return {"$dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}
    raise NotPlain(f"an object of type {type(value).__name__} cannot be handed in")


def _encode_array(kind, array):
    if array.dtype.name not in DTYPES:
        raise NotPlain(f"an array of dtype {array.dtype} cannot be handed in")
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {f"${kind}": array.dtype.name, "shape": list(array.shape), "data": data}


def decode(payload, depth=0):
    """Turn parsed JSON of :func:`encode` back into values; arrays are fresh and writable.

    Raises:
        ValueError: Anything that :func:`encode` cannot have written; the sender is not trusted.
    """
    if depth > DEPTH + 1:
        raise ValueError("the value is nested too deeply")
    if payload is None or isinstance(payload, bool | int | float | str):
        return payload
    if isinstance(payload, list):
        return [decode(item, depth + 1) for item in payload]
    if not isinstance(payload, dict):
        raise ValueError(f"not a plain value: {type(payload).__name__}")
    keys = set(payload)
    if keys == {"$float"} and payload["$float"] in ("nan", "inf", "-inf"):
        return float(payload["$float"])
    if keys == {"$tuple"} and isinstance(payload["$tuple"], list):
        return tuple(decode(item, depth + 1) for item in payload["$tuple"])
    if keys == {"$dict"} and isinstance(payload["$dict"], list):
        return {_key(pair, depth): decode(pair[1], depth + 1) for pair in payload["$dict"]}
    for kind in ("array", "tensor"):
        if keys == {f"${kind}", "shape", "data"}:
            array = _decode_array(payload[f"${kind}"], payload["shape"], payload["data"])
            if kind == "array":
                return array
            import torch

            return torch.from_numpy(array)
    raise ValueError("not a plain value")


def _key(pair, depth):
    if not (isinstance(pair, list) and len(pair) == 2):
        raise ValueError("not a pair of key and value")
    key = decode(pair[0], depth + 1)
    if not isinstance(key, str | int | float | bool | type(None)):
        raise ValueError("the key of a dict is not a plain scalar")
    return key


def _decode_array(dtype, shape, data):
    sizes_are_plain = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if dtype not in DTYPES or not sizes_are_plain or len(shape) > DIMENSIONS or not isinstance(data, str):
        raise ValueError("not an array of a plain dtype and shape")
    raw = base64.b64decode(data, validate=True)
    # Compared as Python integers, before anything of that size is allocated.
    if math.prod(shape) * np.dtype(dtype).itemsize != len(raw):
        raise ValueError("the shape of an array does not fit its data")
    if dtype == "bool" and raw.translate(None, b"\0\1"):
        raise ValueError("a boolean array holds other bytes than 0 and 1")
    return np.frombuffer(raw, dtype=dtype).reshape(shape).copy()
