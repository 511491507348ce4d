"""Damaged and odd versions of text and of nested values, the same for the same seed."""

import copy
import datetime
import json
import random
import re

import yaml

DEEP = "@deep@"
"""Stands for lists within lists; see `deepened`."""
ODD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan"), 0.5),
    *("", "x", "\0", "x" * 5000, "../../etc/passwd", "=1+1", "\x1b[2J", "{slide}", "١٢", "1e9"),
    *(DEEP, [], [[]], {}, {"": None}, [None], [0, 0], {"type": []}, [["a", 1], {"b": [2]}]),
)
DATES = (datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, 12, 30))
BYTES = (b"\xff\xfe", b"\0", b"\xe9", b"{", b"[" * 3000, b"\n", b"\t", b": ", b"- ", b"&a *a")
BYTES += (b"<", b"]]>", b"!!python/object:os.system", b"2024-99-99", b"1e999999", b"\x1b[31m")


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Flip, cut, insert or repeat at one to three places."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(data) + 1)
        match draw.choice(["flip", "cut", "insert", "insert", "repeat"]):
            case "flip" if place < len(data):
                data[place] = draw.randrange(256)
            case "cut":
                del data[place : place + draw.choice([1, 5, len(data)])]
            case "insert":
                data[place:place] = draw.choice(BYTES)
            case _:
                data[place:place] = data[place : place + 30] * draw.choice([1, 3])
    return bytes(data)


def changed_value(value: object, draw: random.Random, more: tuple = ()) -> object:
    """Replace, remove, add or rename at one to three places of nested mappings and lists."""
    value = copy.deepcopy(value)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return draw.choice(ODD)
        holder, key = draw.choice(places)
        odd = draw.choice([*ODD, *more])
        match draw.choice(["replace", "replace", "replace", "remove", "add", "wrap"]):
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw.choice(["x", "type", "kind", "", "a\nb"])] = odd
            case "add":
                holder.insert(key, odd)
            case "wrap":
                holder[key] = draw.choice([[holder[key]], {"a": holder[key]}])
            case _:
                holder[key] = copy.deepcopy(odd)
    return value


def _places(value: object):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def as_json(value: object) -> bytes:
    return deepened(json.dumps(value).encode())


def as_yaml(value: object) -> bytes:
    return deepened(yaml.safe_dump(value, allow_unicode=True).encode())


def deepened(text: bytes, depth: int = 3000) -> bytes:
    """Put lists within lists where DEEP stands, quoted or not."""
    return re.sub(b"[\"']?" + DEEP.encode() + b"[\"']?", b"[" * depth + b"]" * depth, text)
