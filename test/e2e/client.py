"""Python's Socket.IO client in a room: client.py URL TOKEN ROOM TRANSPORTS. It prints what its handlers get, as lines of JSON, and
leaves after a message "bye". An exception in a handler is printed by the library, to stderr."""

import json
import sys
import threading

import socketio

url, token, room, transports = sys.argv[1:]
client = socketio.Client(reconnection=False)
finished = threading.Event()


def show(*line):
    print(json.dumps(line), flush=True)


@client.on("room:history")
def history(messages):
    assert isinstance(messages, list)


@client.on("message:new")
def message(message):
    show("message:new", message)
    if message["content"] == "bye":
        finished.set()


@client.on("users:online")
def online(users):
    assert isinstance(users, list)


client.connect(url, auth={"token": token}, transports=transports.split(","), wait_timeout=30)
answer = client.call("room:join", {"roomId": room, "since": 0.0, "limit": 5.0}, timeout=30)
show("joined", {"ok": answer["ok"], "seq": answer["seq"]})
assert finished.wait(30)
client.disconnect()
