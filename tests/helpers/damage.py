"""Damage to the bytes of a file, by a seeded generator: what disks do, and what attackers do."""

import copy
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, "", "1", "x" * 10_000, "\ud800", 0, -1, 1, 2, 0.5, 1e300, -1e300,
    float("nan"), float("inf"), 2**63, -(2**31), 10**200, [], {}, [[]], [None], [1, 2, 3],
    [[1, 2, 3]], {"x": 1}, [{}], {"a": {"b": None}},
)  # fmt: skip
_SHAPES = (
    "(1000000000000,)", "(99999999999, 99999999999)", "(-1,)", "()", "(0,)", "(True,)", "(3,(",
    "(0, 1000000000000)", "(" + "1," * 40 + ")", "(" + "9" * 3000 + ",)", "(1.5,)", "None",
)  # fmt: skip
_DTYPES = ("|O", "<f2", ">f8", "<c16", "|V8", "<U0", "<U1000000000", "<M8[s]", "|b1", "|S5", "O,i")


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def nest(content: bytes, rng: random.Random) -> bytes:
    place, depth = rng.randrange(len(content)), rng.choice((3, 100, 900, 100_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")))
    return content[:place] + opened * depth + b"1" + closed * depth + content[place:]


def replace_bytes(content: bytes, rng: random.Random) -> bytes:
    pieces = (b"9" * 5000, b"1e999", b"NaN", b"null", b"-", b'"', b"\xff\xfe", b"\x00", b",", b"]")
    place = rng.randrange(len(content))
    return content[:place] + rng.choice(pieces) + content[place + rng.randrange(4) :]


def odd_json(content: bytes, rng: random.Random) -> bytes:
    """Some values of a JSON document replaced, deleted or repeated."""
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        everywhere = _places(document)
        if everywhere:
            container, key = rng.choice(everywhere)
            if rng.random() < 0.2:
                del container[key]
            elif rng.random() < 0.2 and isinstance(container, list):
                container.insert(key, copy.deepcopy(container[key]))
            else:
                container[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return json.dumps(document).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    found = []
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def lying_npy(content: bytes, rng: random.Random) -> bytes:
    """A header of a `.npy` file that names another shape, dtype or order than the content's."""
    start = 10
    if len(content) < start:  # after other damage
        return content
    length = struct.unpack_from("<H", content, 8)[0]
    header, rest = content[start : start + length].decode("latin1"), content[start + length :]
    header = rng.choice(
        (
            lambda: re.sub(r"'shape': .*\), ", f"'shape': {rng.choice(_SHAPES)}, ", header),
            lambda: re.sub(r"'descr': '[^']*'", f"'descr': '{rng.choice(_DTYPES)}'", header),
            lambda: header.replace("False", rng.choice(("True", "None", "[]"))),
            lambda: "(" * 5000,
            lambda: "-" * 9000 + "1",
            lambda: "".join(rng.choices("(){}[]':,0L\n", k=50)),
        )
    )()
    return content[:8] + struct.pack("<H", len(header)) + header.encode("latin1") + rest


def lying_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Odd values in the header, which is JSON after its length."""
    (length,) = struct.unpack_from("<Q", content)
    header = odd_json(content[8 : 8 + length], rng)
    claimed = rng.choice((len(header), len(header), len(header), 2**62, 2**26, len(header) - 1))
    return struct.pack("<Q", claimed) + header + content[8 + length :]


def hostile_pickle(content: bytes, rng: random.Random) -> bytes:
    """Opcodes put into a pickle: tuples of tuples, huge numbers, calls, memo entries."""
    pieces = (
        b"2\x86" * rng.choice((3, 26, 60)), b"0", b"(", b")R", b"}b", b"Nb", b"\x85", b"]", b"a",
        b"s", b"u", b"\x8f(K\x01\x90", b"\x8b" + struct.pack("<i", 900) + b"\x7f" * 900,
        b"cos\nsystem\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n",
        b"r\xff\xff\xff\xff", b"h\x00", b"J\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f",
        b"I" + b"9" * 5000,
    )  # fmt: skip
    # Mostly near the beginning or the end, where opcodes are, not in the bytes of an array.
    near = rng.choice((rng.randrange(min(200, len(content))), rng.randrange(len(content))))
    place = rng.choice((near, max(0, len(content) - 1 - rng.randrange(20))))
    return content[:place] + rng.choice(pieces) + content[place + rng.randrange(2) :]


def rebuilt_zip(inner: tuple[Damage, ...], compression: int = zipfile.ZIP_DEFLATED) -> Damage:
    """An archive whose hashes fit, with damaged, swapped, missing or doubled members."""

    def damage(content: bytes, rng: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        for _ in range(rng.choice((1, 1, 2))):
            at, other = rng.randrange(len(members)), rng.randrange(len(members))
            (name, data), kind = members[at], rng.random()
            if kind < 0.6 and data:
                members[at] = (name, rng.choice(inner)(data, rng))
            elif kind < 0.8:
                members[at], members[other] = (name, members[other][1]), (members[other][0], data)
            elif kind < 0.9:
                members[at] = (name, b"")
            else:
                members[at] = (name[: rng.randrange(1, len(name))], data)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return file.getvalue()

    return damage


BYTES: tuple[Damage, ...] = (flip_bits, cut, replace_bytes)
JSON: tuple[Damage, ...] = (odd_json, odd_json, odd_json, nest, *BYTES)
NPY: tuple[Damage, ...] = (lying_npy, lying_npy, *BYTES)
NPZ: tuple[Damage, ...] = (rebuilt_zip(NPY), rebuilt_zip(NPY), *BYTES)
NPZ_OF_OBJECTS: tuple[Damage, ...] = (rebuilt_zip((*NPY, hostile_pickle, hostile_pickle)), *BYTES)
SAFETENSORS: tuple[Damage, ...] = (lying_safetensors, lying_safetensors, *BYTES)
PICKLE: tuple[Damage, ...] = (hostile_pickle, hostile_pickle, *BYTES)
TORCH: tuple[Damage, ...] = (rebuilt_zip(PICKLE, zipfile.ZIP_STORED), *BYTES)
