#!/usr/bin/env python3
# A program that takes datagrams on its private port, and answers each with its text, the client's address as it sees it, and its process.
import os
import socket

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(os.environ["PORT"])))
while True:
    m, client = s.recvfrom(65535)
    s.sendto(m + f" {os.getpid()}".encode(), client)
