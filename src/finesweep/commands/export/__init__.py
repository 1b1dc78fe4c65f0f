"""`finesweep export` and `push`: a finished run in forms that need no finesweep."""

from enum import StrEnum


class Form(StrEnum):
    """What a run can be exported to."""

    merged = "merged"
    adapter = "adapter"
    onnx = "onnx"
