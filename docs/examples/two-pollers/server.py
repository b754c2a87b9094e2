"""A messenger's server: of two who poll with one token it ends the requests of both."""
import socket

server = socket.create_server(("127.0.0.1", 0))
with open("port", "w", encoding="utf-8") as port:
    port.write(f"{server.getsockname()[1]}\n")
pollers = []
while True:
    pollers.append(server.accept()[0])
    pollers[-1].sendall(b"polling\n")
    for poller in pollers if len(pollers) > 1 else []:
        try:
            poller.sendall(b"Conflict: terminated by other getUpdates request\n")
        except OSError:  # it has gone
            pass
