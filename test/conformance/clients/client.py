"""Python's Socket.IO client against the protocol suite's server: client.py URL"""

import sys
import threading

import socketio


def check(url, transports):
    """Connects over the transports, and tries events, acks, binary, namespaces and an upgrade."""
    client = socketio.Client(reconnection=False)
    greeted, back, custom = threading.Event(), threading.Event(), threading.Event()
    got = []

    @client.on("auth")
    def _(auth):
        got.append(auth)
        greeted.set()

    @client.on("message-back")
    def _(*args):
        got.append(args)
        back.set()

    @client.on("message-back", namespace="/custom")
    def _(*args):
        got.append(args)
        custom.set()

    client.connect(url, auth={"token": "123"}, transports=transports, namespaces=["/", "/custom"], wait_timeout=8)
    assert greeted.wait(8) and got.pop() == {"token": "123"}, got
    client.emit("message", (1, "zwölf", {"3": [True]}, b"\x01\x02"))
    assert back.wait(8) and got.pop() == (1, "zwölf", {"3": [True]}, b"\x01\x02"), got
    answer = client.call("message-with-ack", {"a": b"\x03"}, timeout=8)
    assert answer == {"a": b"\x03"}, answer
    client.emit("message", "there", namespace="/custom")
    assert custom.wait(8) and got.pop() == ("there",), got
    client.sleep(1.2)  # heartbeats
    assert client.connected
    client.disconnect()


for choice in (["polling"], ["websocket"], None):
    check(sys.argv[1], choice)
    print("python3-socketio over", choice or "polling, then websocket", "passes")
