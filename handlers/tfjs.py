"""A TensorFlow.js graph model (its JSON followed by its weights) as an ONNX file: the operators of NanoDet."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlers.onnx_file import OnnxWriter

DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "int32": np.dtype("<i4"),
    "uint8": np.dtype("u1"),
    "float16": np.dtype("<f2"),
}
TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]

Array = NDArray[Any]
Node = dict[str, Any]  # {"name", "op", "input", "attr"} as tfjs writes it


def convert(data: bytes) -> bytes:
    """Return the ONNX file of *data*: model.json with the .bin behind it. Raises ValueError or KeyError."""
    model, end = json.JSONDecoder().raw_decode(data.decode("latin-1"))  # a character per byte: end counts bytes
    return Converter(model, weights(model, memoryview(data)[end:])).run()


def weights(model: dict[str, Any], blob: memoryview) -> dict[str, Array]:
    """Return the weights by name, dequantised. Raises ValueError when *blob* is cut off."""
    found, at = {}, 0
    for spec in (w for group in model["weightsManifest"] for w in group["weights"]):
        quantised = spec.get("quantization")
        stored = DTYPES[quantised["dtype"] if quantised else spec["dtype"]]
        count = int(np.prod(spec["shape"], dtype=np.int64))
        array = np.frombuffer(blob, stored, count, at).astype(DTYPES[spec["dtype"]])
        if quantised and "scale" in quantised:
            array = (array * quantised["scale"] + quantised["min"]).astype(DTYPES[spec["dtype"]])
        found[spec["name"]] = array.reshape(spec["shape"])
        at += count * stored.itemsize
    return found


class Converter:
    """Walks the graph from its outputs. TensorFlow's pictures are NHWC, ONNX wants NCHW: transposed around."""

    def __init__(self, model: dict[str, Any], constants: dict[str, Array]) -> None:
        self._nodes: dict[str, Node] = {n["name"]: n for n in model["modelTopology"]["node"]}
        self._signature = model["signature"]
        self._known = constants
        self._writer = OnnxWriter()
        self._written: set[str] = set()
        self._count = 0

    def run(self) -> bytes:
        """Return the ONNX file; outputs have their TensorFlow names, sorted."""
        outputs = sorted(base(value["name"]) for value in self._signature["outputs"].values())
        for name in self._order(outputs):
            self._convert(self._nodes[name])
        return self._writer.model(outputs)

    def _order(self, outputs: list[str]) -> list[str]:
        done: dict[str, None] = {}
        stack = list(reversed(outputs))
        while stack:
            todo = [i for i in inputs(self._nodes[stack[-1]]) if base(i) not in done]
            if todo:
                stack.append(base(todo[0]))
            else:
                done.setdefault(stack.pop())
        return list(done)

    def _convert(self, node: Node) -> None:
        handler = OPERATORS.get(node["op"])
        if handler is None:
            raise ValueError(f"operator {node['op']} of {node['name']} is not known")
        handler(self, node)

    def emit(self, operator: str, ins: list[str], name: str | None = None, **attributes: Any) -> str:
        """Add a node and return its output's name; constants among *ins* are written when they are first used."""
        for each in ins:
            if each in self._known and each not in self._written:
                self._written.add(each)
                self._writer.constant(each, self._known[each])
        out = name or self._fresh(operator)
        self._writer.node(operator, ins, [out], **attributes)
        return out

    def constant(self, array: Array) -> str:
        name = self._fresh("constant")
        self._known[name] = array
        return name

    def value(self, name: str) -> Array:
        """Return the constant *name*. Raises KeyError when it is computed."""
        return self._known[name]

    def _fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def placeholder(self, node: Node) -> None:
        entry = next(v for v in self._signature["inputs"].values() if base(v["name"]) == node["name"])
        self._writer.input(node["name"], [int(d["size"]) for d in entry["tensorShape"]["dim"]])

    def add(self, node: Node) -> None:
        left, right = plain(node)
        if left in self._known and right in self._known:
            self._known[node["name"]] = self.value(left) + self.value(right)
        else:
            self.emit("Add", [left, right], node["name"])

    def sparse(self, node: Node) -> None:
        places, shape, values, default = (self.value(name) for name in plain(node))
        dense = np.full(shape, default)
        if places.size:
            dense[tuple(np.atleast_2d(places).T)] = values
        self._known[node["name"]] = dense

    def convolve(self, node: Node) -> None:
        image, kernel = plain(node)
        channels_last = text(node, "data_format") == "NHWC"
        first = 1 if channels_last else 2  # where height and width are
        weight = self.constant(self.value(kernel).transpose(3, 2, 0, 1).astype(np.float32))
        attributes = {
            "strides": numbers(node, "strides")[first : first + 2],
            "dilations": (numbers(node, "dilations") or [1] * 4)[first : first + 2],
            "auto_pad": "SAME_UPPER" if text(node, "padding") == "SAME" else "VALID",
        }
        self._in_nchw("Conv", image, [weight], node["name"], channels_last, attributes)

    def pool(self, node: Node) -> None:
        channels_last = text(node, "data_format") == "NHWC"
        first = 1 if channels_last else 2
        attributes = {
            "kernel_shape": numbers(node, "ksize")[first : first + 2],
            "strides": numbers(node, "strides")[first : first + 2],
            "auto_pad": "SAME_UPPER" if text(node, "padding") == "SAME" else "VALID",
        }
        self._in_nchw("MaxPool", plain(node)[0], [], node["name"], channels_last, attributes)

    def resize(self, node: Node) -> None:
        image, size = plain(node)
        turned = self.emit("Transpose", [image], perm=TO_NCHW)
        shape = self.emit("Shape", [turned])
        kept = self.emit("Slice", [shape, self.constant(np.array([0])), self.constant(np.array([2]))])
        sizes = self.emit("Concat", [kept, self.constant(self.value(size).astype(np.int64))], axis=0)
        mode = "align_corners" if flag(node, "align_corners") else "asymmetric"
        mode = "half_pixel" if flag(node, "half_pixel_centers") else mode
        scaled = self.emit("Resize", [turned, "", "", sizes], mode="linear", coordinate_transformation_mode=mode)
        self.emit("Transpose", [scaled], node["name"], perm=TO_NHWC)

    def pad(self, node: Node) -> None:
        image, pads, *rest = plain(node)
        both = self.value(pads).astype(np.int64).T.reshape(-1)  # all the starts, then all the ends
        fill = float(self.value(rest[0])) if rest else 0.0
        ins = [image, self.constant(both), self.constant(np.array(fill, np.float32))]
        self.emit("Pad", ins, node["name"])

    def split(self, node: Node) -> None:
        image, sizes, axis = plain(node)
        count = self.value(sizes).astype(np.int64)
        outputs = [f"{node['name']}:{i}" if i else node["name"] for i in range(len(count))]
        size_name = self.constant(count)
        self._written.add(size_name)
        self._writer.constant(size_name, count)
        self._writer.node("Split", [image, size_name], outputs, axis=int(self.value(axis)))

    def _in_nchw(
        self, operator: str, image: str, more: list[str], name: str, channels_last: bool, attributes: dict[str, Any]
    ) -> None:
        if not channels_last:
            self.emit(operator, [image, *more], name, **attributes)
            return
        turned = self.emit("Transpose", [image], perm=TO_NCHW)
        self.emit("Transpose", [self.emit(operator, [turned, *more], **attributes)], name, perm=TO_NHWC)

    def transpose(self, node: Node) -> None:
        image, order = plain(node)
        self.emit("Transpose", [image], node["name"], perm=[int(i) for i in self.value(order)])

    def reshape(self, node: Node) -> None:
        image, shape = plain(node)
        self.emit("Reshape", [image, self.constant(self.value(shape).astype(np.int64))], node["name"])

    def concat(self, node: Node) -> None:
        *parts, axis = plain(node)
        self.emit("Concat", parts, node["name"], axis=int(self.value(axis)))

    def same(self, node: Node) -> None:
        self.emit(node["op"], plain(node)[:1], node["name"])

    def leaky(self, node: Node) -> None:
        self.emit("LeakyRelu", plain(node), node["name"], alpha=float(node["attr"]["alpha"]["f"]))

    def known(self, node: Node) -> None:
        """Take a constant: its value is in the weights already."""
        self.value(node["name"])


OPERATORS: dict[str, Callable[[Converter, Node], None]] = {
    "Placeholder": Converter.placeholder,
    "Const": Converter.known,
    "Add": Converter.add,
    "AddV2": Converter.add,
    "SparseToDense": Converter.sparse,
    "Conv2D": Converter.convolve,
    "MaxPool": Converter.pool,
    "ResizeBilinear": Converter.resize,
    "Pad": Converter.pad,
    "PadV2": Converter.pad,
    "SplitV": Converter.split,
    "Transpose": Converter.transpose,
    "Reshape": Converter.reshape,
    "ConcatV2": Converter.concat,
    "Identity": Converter.same,
    "Sigmoid": Converter.same,
    "LeakyRelu": Converter.leaky,
}


def base(name: str) -> str:
    """Return the node of an input such as "split:1"."""
    return name.partition(":")[0]


def inputs(node: Node) -> list[str]:
    """Return the inputs that carry data; "^name" only says when."""
    return [i for i in node.get("input", []) if not i.startswith("^")]


def plain(node: Node) -> list[str]:
    """Return the inputs' names as we write them: output 0 has the node's name."""
    return [i.removesuffix(":0") for i in inputs(node)]


def numbers(node: Node, name: str) -> list[int]:
    return [int(i) for i in node["attr"].get(name, {"list": {}})["list"].get("i", [])]


def flag(node: Node, name: str) -> bool:
    return bool(node["attr"].get(name, {}).get("b", False))


def text(node: Node, name: str) -> str:
    """Return a string attribute; some writers encode them in base64."""
    value: str = node["attr"][name]["s"]
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return value
    return decoded if decoded.isidentifier() else value
