"""The other process of the channel's tests: receives packets, and says on a pipe what it saw."""

import hashlib
from multiprocessing.connection import Connection
from pathlib import Path

from node.transport.channel import Channel


def answer(pipe: Connection, name: str, run_path: str, address: str, depth: int) -> None:
    """For each number n that comes: receive n packets and say (length, SHA-256) of each; "hold": keep one; 0: leave."""
    channel = Channel(name, Path(run_path))
    inbox = channel.inbox(address, depth)
    held = []
    pipe.send("ready")
    while wish := pipe.recv():
        if wish == "hold":
            held.append(inbox.receive(5.0))
            pipe.send(len(held))
            continue
        for _ in range(wish):
            data = inbox.receive(5.0)
            pipe.send(None if data is None else (len(data), hashlib.sha256(data).hexdigest()))
            del data
    inbox.close()
    channel.close()
    pipe.send("gone")
