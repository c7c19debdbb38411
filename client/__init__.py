"""FaceService from outside: `FaceClient` for programs, `python3 -m client` for people.

    from client import FaceClient

    with FaceClient("face_recognition") as client:
        for result in client.stream(["a.jpg", "b.jpg"]):
            print(result.name, [box.label for box in result.boxes])

Names are looked up when they are first used, so that `python3 -m client` can find its environment first.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.errors import ClientError
    from client.face_client import FaceClient
    from client.frames import Frame
    from client.results import Result

__all__ = ["ClientError", "FaceClient", "Frame", "Result"]

_HOMES = {"ClientError": "errors", "FaceClient": "face_client", "Frame": "frames", "Result": "results"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'client' has no attribute {name!r}")
    return getattr(import_module(f"client.{_HOMES[name]}"), name)
