"""ONNX files without the package 'onnx': protobuf's wire format is short enough to write by hand (field numbers: onnx.proto)."""

from __future__ import annotations

from collections.abc import Sequence

FLOAT, DOUBLE = 1, 11


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def value_info(name: str, kind: int, sides: Sequence[int]) -> bytes:
    shape = b"".join(block(1, number(1, side)) for side in sides)
    return block(1, name) + block(2, block(1, number(1, kind) + block(2, shape)))


def node(operation: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    names = b"".join(block(1, name) for name in inputs)
    return names + block(2, output) + block(4, operation) + attributes


def model(nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]) -> bytes:
    graph = b"".join(block(1, item) for item in nodes) + block(2, "test")
    graph += b"".join(block(11, item) for item in inputs) + b"".join(block(12, item) for item in outputs)
    return number(1, 8) + block(8, block(1, "") + number(2, 13)) + block(7, graph)


def dimming_graph(side: int) -> bytes:
    """x (1, 3, side, side) float, w () double -> float(w) * x."""
    to_float = block(5, block(1, "to") + number(3, FLOAT) + number(20, 2))
    nodes = [node("Cast", ["w"], "weight", to_float), node("Mul", ["x", "weight"], "y")]
    picture = (1, 3, side, side)
    return model(nodes, [value_info("x", FLOAT, picture), value_info("w", DOUBLE, ())], [value_info("y", FLOAT, picture)])


def classifier_graph() -> bytes:
    """x (1, 10) float -> x: no restorer."""
    return model([node("Identity", ["x"], "y")], [value_info("x", FLOAT, (1, 10))], [value_info("y", FLOAT, (1, 10))])
