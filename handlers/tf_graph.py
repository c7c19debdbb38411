"""A frozen TensorFlow graph in an order that OpenCV reads: its simplifier wants each input to name an earlier node."""

from dataclasses import dataclass

from handlers import protobuf

NODE = 1  # GraphDef.node
NAME, INPUT = 1, 3  # NodeDef.name, NodeDef.input


@dataclass(frozen=True, slots=True)
class Node:
    """One NodeDef: its inputs by name, and its bytes with plain input names."""

    inputs: tuple[bytes, ...]
    data: bytes


def sort_graph(data: bytes) -> bytes:
    """Return the GraphDef *data* with its nodes in topological order, without ":0" and control inputs.

    Raises ValueError for what is no GraphDef, KeyError for an input that names no node.
    """
    nodes: dict[bytes, Node] = {}
    rest = bytearray()
    for number, wire_type, value in protobuf.fields(memoryview(data)):
        if number == NODE and isinstance(value, bytes):
            name, node = _node(value)
            nodes[name] = node
        else:
            rest += protobuf.field(number, value, wire_type)
    ordered = b"".join(protobuf.field(NODE, nodes[name].data) for name in _order(nodes))
    return ordered + bytes(rest)


def _node(data: bytes) -> tuple[bytes, Node]:
    name, inputs, body = b"", [], bytearray()
    for number, wire_type, value in protobuf.fields(memoryview(data)):
        if isinstance(value, bytes) and number == NAME:
            name = value
        if isinstance(value, bytes) and number == INPUT:
            if value.startswith(b"^"):  # a control input says when, not what
                continue
            value = value.removesuffix(b":0")
            inputs.append(value.split(b":")[0])
        body += protobuf.field(number, value, wire_type)
    return name, Node(tuple(inputs), bytes(body))


def _order(nodes: dict[bytes, Node]) -> list[bytes]:
    """Return the names so that inputs come first; depth first, stable in file order. Raises ValueError on a cycle."""
    order: dict[bytes, None] = {}
    for root in nodes:
        stack = [root]
        while stack:
            if len(stack) > len(nodes) + 1:
                raise ValueError(f"node {root.decode()!r} is part of a cycle")
            todo = next((i for i in nodes[stack[-1]].inputs if i not in order), None)
            if todo is None:
                order.setdefault(stack.pop())
            else:
                stack.append(todo)
    return list(order)
