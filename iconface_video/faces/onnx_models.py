"""Open the fixed input size of an ONNX file without the `onnx` package: a small edit on the protobuf wire format.

Only what the edit needs is understood (onnx.proto3: ModelProto.graph = 7; GraphProto.initializer = 5, input = 11,
output = 12, value_info = 13; TensorProto.name = 8; ValueInfoProto.name = 1, type = 2); all else is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRAPH, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 7, 5, 11, 12, 13
_TENSOR_NAME, _VALUE_NAME = 8, 1
_FLOAT = 1
"""TensorProto.DataType.FLOAT"""


def free_picture_size(model: bytes) -> bytes:
    """The same network with free batch, height and width of its one float picture input and of its outputs.

    Weights that the file also lists as inputs are taken off that list, so that the runtime may fold them. Inferred shapes
    of inner values are dropped. Raises ValueError when this is no ONNX file or has not exactly one real input.
    """
    result = bytearray()
    graphs = 0
    for number, kind, whole, body in _fields(memoryview(model)):
        if number == _GRAPH and kind == _BYTES:
            graphs += 1
            result += _message(_GRAPH, _open_graph(body))
        else:
            result += whole
    if graphs != 1:
        raise ValueError("not an ONNX model: no graph in it")
    return bytes(result)


def _open_graph(graph: memoryview) -> bytes:
    items = list(_fields(graph))
    weights = {_text(body, _TENSOR_NAME) for number, _, _, body in items if number == _INITIALIZER}
    names = [_text(body, _VALUE_NAME) for number, _, _, body in items if number == _INPUT]
    if len([name for name in names if name not in weights]) != 1:
        raise ValueError("the ONNX model does not have exactly one picture input")
    result = bytearray()
    for number, _, whole, body in items:
        if number == _INPUT:
            name = _text(body, _VALUE_NAME)
            result += b"" if name in weights else _message(_INPUT, _value_info(name, ("batch", 3, "height", "width")))
        elif number == _OUTPUT:
            result += _message(_OUTPUT, _value_info(_text(body, _VALUE_NAME), ("batch", "channels", "rows", "columns")))
        elif number != _VALUE_INFO:
            result += whole
    return bytes(result)


def _value_info(name: str, shape: tuple[int | str, ...]) -> bytes:
    dimensions = b"".join(
        _message(1, _tag(1, _VARINT) + _varint(side) if isinstance(side, int) else _message(2, side.encode())) for side in shape
    )
    tensor = _tag(1, _VARINT) + _varint(_FLOAT) + _message(2, dimensions)
    return _message(1, name.encode()) + _message(2, _message(1, tensor))


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview, memoryview]]:
    """(field number, wire kind, the whole field, its body) of one message."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _read_varint(data, position)
        kind = tag & 7
        body = position
        if kind == _VARINT:
            _, position = _read_varint(data, position)
        elif kind == _BYTES:
            length, body = _read_varint(data, position)
            position = body + length
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"not an ONNX model: unknown wire kind {kind}")
        if position > len(data):
            raise ValueError("not an ONNX model, or cut off")
        yield tag >> 3, kind, data[start:position], data[body:position]


def _text(message: memoryview, number: int) -> str:
    for found, kind, _, body in _fields(message):
        if found == number and kind == _BYTES:
            return bytes(body).decode()
    return ""


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("not an ONNX model, or cut off")


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(result) + bytes([value])


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _message(number: int, body: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(body)) + body
