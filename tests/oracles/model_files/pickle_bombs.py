"""Small pickles that would take gigabytes or for ever, in either format of torch.save."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

_STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ%btQ"
_TENSOR = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(%bK\x00%b%b\x89ccollections\nOrderedDict\n)RtR."


def tensor(count: int, size: bytes, stride: bytes) -> bytes:
    """A tensor in a storage of `count` floats. size, stride: pickled tuples."""
    return _TENSOR % (_STORAGE % struct.pack("<i", count), size, stride)


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def in_archive(pickled: bytes) -> bytes:
    """An archive of torch.save with one storage of 4 bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, held in {"data.pkl": pickled, "byteorder": b"little", "data/0": b"1234", "version": b"3\n"}.items():
            archive.writestr(f"a/{name}", held)
    return stream.getvalue()


def in_old_file(pickled: bytes) -> bytes:
    """A file of torch before 1.6, whose storages would lie behind the pickles."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = (0x1950A86A20F9469CFC6C, 1001, machine)
    old = pickled.replace(b"tQ", b"NtQ")  # whether a storage is part of another
    return b"".join(pickle.dumps(part, protocol=2) for part in head) + old + pickle.dumps(["0"], protocol=2)


ONE = b"K\x01\x85"
BOMBS = {
    "a byte array": b"\x80\x02c__builtin__\nbytearray\n" + number(2**30) + b"\x85R.",
    "a tensor by its size": b"\x80\x02ctorch\nTensor\n" + number(2**28) + b"\x85R.",
    "a tensor of a type": b"\x80\x02ctorch\nDoubleTensor\n" + number(2**28) + b"\x85\x81.",
    "a storage that is called": b"\x80\x02ctorch\nDoubleStorage\n" + number(2**28) + b"\x85R.",
    "a storage of another size": tensor(2**29, ONE, ONE),
    "a negative storage": tensor(-1, ONE, ONE),
    "a tensor beyond its storage": tensor(1, number(2**29) + b"\x85", ONE),
    "a tensor of far strides": tensor(1, b"K\x02\x85", number(2**30) + b"\x85"),
    "a value repeated": tensor(1, number(2**30) + b"\x85", b"K\x00\x85"),
    "negative sizes": tensor(1, number(-5) + number(-5) + b"\x86", b"K\x01K\x01\x86"),
    "bytes made before they are read": b"\x80\x05\x96" + struct.pack("<Q", 2**31) + b".",
    "tuples of tuples as a key": b"\x80\x02}" + ONE + b"2\x86" * 200 + b"K\x00s.",
    "tuples of tuples in a set": b"\x80\x04\x8f(" + ONE + b"2\x86" * 200 + b"\x90.",
    "text in another coding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
}
"""Each is one whole pickle."""
