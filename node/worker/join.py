"""Inputs of one frame find each other by sequence. Pure."""

from collections import OrderedDict

from wire.packet import Packet


class Joiner:
    """Collects one packet per input for each sequence; holds at most *bound* incomplete sequences."""

    def __init__(self, inputs: int, bound: int) -> None:
        self._inputs = inputs
        self._bound = bound
        self._open: OrderedDict[int, dict[int, Packet]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, packet: Packet) -> list[Packet] | None:
        """Return the frame's packets in the order of the inputs when *packet* completes it, else None.

        A packet for an input that is taken already replaces the earlier one: the entry has sent the frame again. Of
        packets of two epochs only those of the newer one count: the entry has sent all of them again.
        """
        if self._inputs <= 1:
            return [packet]
        sequence = packet.header.sequence
        parts = self._open.setdefault(sequence, {})
        epoch = next((p.header.epoch for p in parts.values()), packet.header.epoch)
        if packet.header.epoch < epoch:
            return None
        if packet.header.epoch > epoch:
            parts.clear()
        parts[packet.header.port] = packet
        if len(parts) < self._inputs:
            return None
        del self._open[sequence]
        return [parts[i] for i in range(self._inputs)]

    def overdue(self) -> list[Packet]:
        """Remove and return one packet of each frame beyond the bound, oldest first: their partners never came."""
        late = []
        while len(self._open) > self._bound:
            _, parts = self._open.popitem(last=False)
            late.append(next(iter(parts.values())))
        return late

    def forget_before(self, epoch: int) -> None:
        """Drop what came with an epoch older than *epoch*."""
        for sequence, parts in list(self._open.items()):
            kept = {i: p for i, p in parts.items() if p.header.epoch >= epoch}
            if not kept:
                del self._open[sequence]
            elif len(kept) < len(parts):
                self._open[sequence] = kept
