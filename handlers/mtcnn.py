"""MTCNN: faces with five landmarks by a cascade of three networks (Zhang, Zhang, Li, Qiao 2016).

P-Net looks at all sizes of the picture, R-Net at 24x24 and O-Net at 48x48 cuts of what the one before it left. The
networks were trained on pictures with their axes swapped, (1, W, H, 3), so everything is turned on the way in and out.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handlers.network import load
from handlers.types import Image

STAGES = ("pnet", "rnet", "onet")
CELL, STRIDE = 12, 2  # pixels of P-Net's window and between two windows
SCALE_FACTOR = 0.709  # between two sizes of the search: halves the area
REFINE_SIDE, OUTPUT_SIDE = 24, 48
MEAN, SPREAD = 127.5, 0.0078125
NMS_SCALE, NMS_ALL, NMS_REFINE, NMS_OUTPUT = 0.5, 0.7, 0.7, 0.7
BATCH = 64  # cuts per run: bounds the memory

Rows = NDArray[np.float32]  # (n, 5): x0, y0, x1, y1, score


class Mtcnn:
    """The three networks. Raises Unavailable when a file is missing or damaged."""

    def __init__(self, model: str, model_path: Path, thresholds: tuple[float, float, float]) -> None:
        self._nets = [load(f"{model}-{stage}", model_path, cv2.dnn.readNetFromONNX) for stage in STAGES]
        self._outputs = [net.getUnconnectedOutLayersNames() for net in self._nets]
        self._thresholds = thresholds

    def detect(self, rgb: Image, min_size: int) -> tuple[Rows, NDArray[np.float32]]:
        """Return the faces in *rgb* (uint8 (H, W, 3) RGB): rows and landmarks, float32 (n, 5, 2), x and y in pixels.

        The landmarks are the eyes, the nose tip and the corners of the mouth, those left in the picture first.
        """
        rows = self._propose(rgb, min_size)
        rows = self._refine(rgb, rows)
        return self._output(rgb, rows)

    def _run(self, stage: int, cuts: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """Return the stage's outputs by their last axis: 2 class scores, 4 offsets, 10 landmark coordinates."""
        net = self._nets[stage]
        net.setInput(cuts)
        return {out.shape[-1]: np.asarray(out, np.float32) for out in net.forward(self._outputs[stage])}

    def _propose(self, rgb: Image, min_size: int) -> Rows:
        height, width = rgb.shape[:2]
        scale, found = CELL / min_size, []
        while min(height, width) * scale >= CELL:
            size = (int(np.ceil(width * scale)), int(np.ceil(height * scale)))
            small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32)
            outputs = self._run(0, _prepared(small)[None])
            rows = _windows(
                outputs[2][0].transpose(1, 0, 2), outputs[4][0].transpose(1, 0, 2), scale, self._thresholds[0]
            )
            found.append(rows[_suppress(rows[:, :5], NMS_SCALE)])
            scale *= SCALE_FACTOR
        rows = np.concatenate(found) if found else np.empty((0, 9), np.float32)
        rows = rows[_suppress(rows[:, :5], NMS_ALL)]
        return _square(_shifted(rows[:, :5], rows[:, 5:], ends=0))

    def _look(self, stage: int, rgb: Image, rows: Rows, side: int) -> dict[int, NDArray[np.float32]]:
        """Return the stage's outputs for the cuts of *rgb* at *rows*."""
        parts: dict[int, list[NDArray[np.float32]]] = {}
        for start in range(0, len(rows), BATCH):
            cuts = np.stack([_cut(rgb, row, side) for row in rows[start : start + BATCH]])
            for width, out in self._run(stage, cuts).items():
                parts.setdefault(width, []).append(out.copy())
        return {width: np.concatenate(outs) for width, outs in parts.items()}

    def _refine(self, rgb: Image, rows: Rows) -> Rows:
        if not len(rows):
            return rows
        outputs = self._look(1, rgb, rows, REFINE_SIDE)
        keep = outputs[2][:, 1] > self._thresholds[1]
        rows = np.column_stack([rows[keep, :4], outputs[2][keep, 1]]).astype(np.float32)
        left = _suppress(rows, NMS_REFINE)
        return _square(_shifted(rows[left], outputs[4][keep][left]))

    def _output(self, rgb: Image, rows: Rows) -> tuple[Rows, NDArray[np.float32]]:
        if not len(rows):
            return rows, np.empty((0, 5, 2), np.float32)
        outputs = self._look(2, rgb, rows, OUTPUT_SIDE)
        keep = outputs[2][:, 1] > self._thresholds[2]
        rows = np.column_stack([rows[keep, :4], outputs[2][keep, 1]]).astype(np.float32)
        sides = (rows[:, 2:4] - rows[:, :2] + 1)[:, None, :]
        points = outputs[10][keep].reshape(-1, 2, 5).transpose(0, 2, 1) * sides + rows[:, None, :2] - 1
        rows = _shifted(rows, outputs[4][keep])
        left = _suppress(rows, NMS_OUTPUT, of_smaller=True)
        return rows[left], points[left].astype(np.float32)


def _prepared(rgb: NDArray[Any]) -> NDArray[np.float32]:
    """Return a picture as the networks want it: float32, about -1 to 1, axes swapped."""
    return ((rgb.astype(np.float32) - MEAN) * SPREAD).transpose(1, 0, 2)


def _windows(scores: NDArray[Any], offsets: NDArray[Any], scale: float, thresh: float) -> NDArray[np.float32]:
    """Return P-Net's windows above *thresh*: (n, 9), a row and four offsets each, in pixels of the picture."""
    ys, xs = np.nonzero(scores[..., 1] > thresh)
    x0, y0 = np.floor((STRIDE * xs + 1) / scale), np.floor((STRIDE * ys + 1) / scale)
    x1, y1 = np.floor((STRIDE * xs + CELL) / scale), np.floor((STRIDE * ys + CELL) / scale)
    return np.column_stack([x0, y0, x1, y1, scores[ys, xs, 1], offsets[ys, xs]]).astype(np.float32)


def _shifted(rows: Rows, offsets: NDArray[np.float32], ends: int = 1) -> Rows:
    """Return *rows* with their corners moved by *offsets*, (n, 4) in box sides; P-Net's leave *ends* out of a side."""
    sides = np.tile(rows[:, 2:4] - rows[:, :2] + ends, 2)
    return np.column_stack([rows[:, :4] + offsets * sides, rows[:, 4]]).astype(np.float32)


def _square(rows: Rows) -> Rows:
    """Return *rows* made square about their middles, at whole pixels."""
    sides = rows[:, 2:4] - rows[:, :2]
    side = sides.max(axis=1, keepdims=True)
    corner = rows[:, :2] + (sides - side) / 2
    return np.column_stack([np.fix(corner), np.fix(corner + side), rows[:, 4]]).astype(np.float32)


def _cut(rgb: Image, row: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the part of *rgb* at *row*, black outside it, scaled to *side* and prepared."""
    x0, y0, x1, y1 = (int(v) for v in row[:4])
    x0, y0 = x0 - 1, y0 - 1  # corners count from 1, both included
    height, width = rgb.shape[:2]
    cut = np.zeros((max(1, y1 - y0), max(1, x1 - x0), 3), np.uint8)
    inner = rgb[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]
    top, left = max(0, -y0), max(0, -x0)
    cut[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return _prepared(np.asarray(cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)))


def _suppress(rows: Rows, thresh: float, of_smaller: bool = False) -> list[int]:
    """Return the indices that stay, best first: of two that overlap by more than *thresh* the better one.

    The overlap is shared area / joint area, or / the smaller area.
    """
    areas = np.prod(rows[:, 2:4] - rows[:, :2] + 1, axis=1)
    order, kept = np.argsort(-rows[:, 4], kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low, high = np.maximum(rows[best, :2], rows[rest, :2]), np.minimum(rows[best, 2:4], rows[rest, 2:4])
        shared = np.prod(np.maximum(0, high - low + 1), axis=1)
        joint = np.minimum(areas[best], areas[rest]) if of_smaller else areas[best] + areas[rest] - shared
        order = rest[shared <= thresh * joint]
    return kept
