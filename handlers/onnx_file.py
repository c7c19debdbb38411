"""Writing ONNX files without the onnx package: nodes and constants to a ModelProto (onnx.proto3, IR version 8)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.protobuf import FIXED32, field

IR_VERSION, OPSET = 8, 13
FLOAT, INT64 = 1, 7  # TensorProto.DataType
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_INTS = 1, 2, 3, 7  # AttributeProto.AttributeType
DATA_TYPES = {"float32": FLOAT, "int64": INT64}


class OnnxWriter:
    """A graph in the making. Names of values are the caller's."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}
        self._inputs: list[bytes] = []

    def node(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add a node; attributes are float, int, str or lists of int."""
        body = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
        body += field(4, operator)
        for name in sorted(attributes):
            body += field(5, _attribute(name, attributes[name]))
        self._nodes.append(body)

    def constant(self, name: str, array: NDArray[Any]) -> None:
        """Add a constant, float32 or int64. Raises KeyError for another dtype."""
        body = b"".join(field(1, size) for size in array.shape) + field(2, DATA_TYPES[str(array.dtype)])
        self._constants[name] = body + field(8, name) + field(9, np.ascontiguousarray(array).tobytes())

    def input(self, name: str, shape: list[int]) -> None:
        """Declare a float32 input."""
        self._inputs.append(_value(name, shape))

    def model(self, outputs: list[str], producer: str = "faceservice") -> bytes:
        """Return the file with the float32 *outputs*."""
        graph = b"".join(field(1, node) for node in self._nodes) + field(2, "graph")
        graph += b"".join(field(5, constant) for constant in self._constants.values())
        graph += b"".join(field(11, value) for value in self._inputs)
        graph += b"".join(field(12, _value(name, None)) for name in outputs)
        opset = field(1, "") + field(2, OPSET)
        return field(1, IR_VERSION) + field(2, producer) + field(7, graph) + field(8, opset)


def _value(name: str, shape: list[int] | None) -> bytes:
    """Return a ValueInfoProto: float32, of *shape* when it is known."""
    tensor = field(1, FLOAT)
    if shape is not None:
        tensor += field(2, b"".join(field(1, field(1, size)) for size in shape))
    return field(1, name) + field(2, field(1, tensor))


def _attribute(name: str, value: float | int | str | list[int]) -> bytes:
    if isinstance(value, float):
        body, kind = field(2, np.float32(value).tobytes(), FIXED32), ATTRIBUTE_FLOAT
    elif isinstance(value, int):
        body, kind = field(3, value), ATTRIBUTE_INT
    elif isinstance(value, str):
        body, kind = field(4, value), ATTRIBUTE_STRING
    else:
        body, kind = b"".join(field(8, item) for item in value), ATTRIBUTE_INTS
    return field(1, name) + body + field(20, kind)
