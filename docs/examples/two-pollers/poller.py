"""Polls, and prints what the server says."""
import socket

with open("port", encoding="utf-8") as port:
    server = socket.create_connection(("127.0.0.1", int(port.read())))
for line in server.makefile():
    print(line, end="", flush=True)
