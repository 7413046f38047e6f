"""Python's Socket.IO client in a room: chat.py URL TOKEN ROOM CONTENT COUNT

Joins, says so, waits for a line on its standard input, sends, and prints what it has seen of the room once there are COUNT messages.
"""

import json
import sys
import threading

import socketio

url, token, room, content, count = sys.argv[1:]
client = socketio.Client(reconnection=False)
seen = {}
complete = threading.Event()


def note(message):
    seen[message["seq"]] = message["content"]
    if len(seen) == int(count):
        complete.set()


# The handlers take one argument each.
client.on("message:new", note)
client.on("room:history", lambda messages: [note(m) for m in messages])
client.connect(url, auth={"token": token}, wait_timeout=30)
reply = client.call("room:join", room, timeout=30)
assert reply["ok"], reply
print("joined", flush=True)
sys.stdin.readline()
reply = client.call("message:send", {"roomId": room, "content": content}, timeout=30)
assert reply["ok"], reply
assert complete.wait(30), seen
print(json.dumps({"transport": client.transport(), "seen": [seen[seq] for seq in sorted(seen)]}), flush=True)
client.disconnect()
