"""Writes a small network in Torch 7's binary format, as OpenFace's weights are: for tests without those weights."""

import struct
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

NUMBER, STRING, TABLE, TORCH, BOOLEAN = 1, 2, 3, 4, 5  # type marks of torch/lib/File.lua

Write = Callable[[], None]


class TorchFile:
    """The bytes in the making; everything is little-endian."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._objects = 0

    def _int(self, value: int) -> None:
        self.data += struct.pack("<i", value)

    def _longs(self, *values: int) -> None:
        self.data += struct.pack(f"<{len(values)}q", *values)

    def _text(self, value: str) -> None:
        self._int(len(value))
        self.data += value.encode()

    def _new_object(self) -> None:
        self._objects += 1
        self._int(self._objects)

    def number(self, value: float) -> None:
        self._int(NUMBER)
        self.data += struct.pack("<d", value)

    def boolean(self, value: bool) -> None:
        self._int(BOOLEAN)
        self._int(int(value))

    def table(self, entries: Mapping[str | int, Write]) -> None:
        self._int(TABLE)
        self._new_object()
        self._int(len(entries))
        for key, write in entries.items():
            if isinstance(key, int):
                self.number(key)
            else:
                self._int(STRING)
                self._text(key)
            write()

    def _torch(self, class_name: str) -> None:
        self._int(TORCH)
        self._new_object()
        self._text("V 1")
        self._text(class_name)

    def module(self, class_name: str, **entries: Write) -> None:
        self._torch(class_name)
        table: dict[str | int, Write] = {}
        table.update(entries)
        self.table(table)

    def tensor(self, array: NDArray[np.float32]) -> None:
        self._torch("torch.FloatTensor")
        self._int(array.ndim)
        self._longs(*array.shape, *(s // array.itemsize for s in array.strides), 1)
        self._torch("torch.FloatStorage")
        self._longs(array.size)
        self.data += array.tobytes()

    def sizes(self, *values: int) -> None:
        self._torch("torch.LongStorage")
        self._longs(len(values), *values)


def small_network(side: int = 96, channels: int = 8, dim: int = 128) -> bytes:
    """Return a network (1, 3, side, side) -> (1, dim), of length 1, with weights that are always the same."""
    file, noise = TorchFile(), np.random.default_rng(7)

    def number(value: float) -> Write:
        return lambda: file.number(value)

    def tensor(*shape: int, scale: float = 0.1) -> Write:
        values = (noise.standard_normal(shape) * scale).astype(np.float32)
        return lambda: file.tensor(values)

    flat = channels * (side // 4) ** 2
    kernel = {"kW": 5, "kH": 5, "dW": 4, "dH": 4, "padW": 1, "padH": 1, "nInputPlane": 3, "nOutputPlane": channels}
    convolution = {name: number(value) for name, value in kernel.items()}
    convolution |= {"weight": tensor(channels, 3, 5, 5), "bias": tensor(channels)}
    layers: dict[str | int, Write] = {
        1: lambda: file.module("nn.SpatialConvolution", **convolution),
        2: lambda: file.module("nn.ReLU", inplace=lambda: file.boolean(True)),
        3: lambda: file.module("nn.View", numElements=number(flat), size=lambda: file.sizes(1, flat)),
        4: lambda: file.module("nn.Linear", weight=tensor(dim, flat, scale=0.01), bias=tensor(dim)),
        5: lambda: file.module("nn.Normalize", p=number(2), eps=number(1e-10)),
    }
    file.module("nn.Sequential", modules=lambda: file.table(layers), train=lambda: file.boolean(False))
    return bytes(file.data)
