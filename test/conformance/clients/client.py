"""Python's Socket.IO client against the server of socket.io-client's suite: client.py URL"""

import queue
import sys

import socketio


def check(url, transports):
    """Connects over the transports, and tries events, acks, binary, namespaces and an upgrade."""
    client = socketio.Client(reconnection=False)
    answers = queue.Queue()
    for event in ("doge", "takeUtf8", "buffack"):
        client.on(event, lambda *args, event=event: answers.put((event, *args[:-1])))  # the last is the recovery offset

    def expect(*want):
        got = answers.get(timeout=30)
        assert got == want, f"got {got!r}, want {want!r}"

    client.connect(url, transports=transports, namespaces=["/", "/foo"], wait_timeout=30)
    client.emit("doge")
    expect("doge", b"asdfasdf")
    client.emit("buffa", b"\x01\x02")
    expect("buffack")
    client.emit("getUtf8")
    for text in ("てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"):
        expect("takeUtf8", text)
    for value in (1, "zwölf", {"3": [True, None]}, {"a": b"\x03"}, b""):
        answer = client.call("echo", value, timeout=30)
        assert answer == value, answer
    assert client.call("getId", timeout=30) == client.get_sid()
    assert client.call("getId", namespace="/foo", timeout=30) == client.get_sid("/foo") != client.get_sid()
    client.sleep(4.5)  # two heartbeats
    assert client.call("echo", "still here", timeout=30) == "still here"
    client.disconnect()


for choice in (["polling"], ["websocket"], None):
    check(sys.argv[1], choice)
    print("python3-socketio over", choice or "polling, then websocket", "passes")
