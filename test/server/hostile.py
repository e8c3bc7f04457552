"""Answers that no proper HTTP server would give, on a raw socket, one per path.

    hostile.py

Serves a port of 127.0.0.1 that the system chose, says which in its first line of
output: {"port": ...}, and ends when its standard input does.  GET /figures tells
how many requests each path has had and how many bytes of answer went out.
"""

import asyncio
import gzip
import json
import os
import sys

GIGABYTE = 1 << 30
CHUNK = b"x" * 65536


async def huge_body(send):
    """10 GB, as announced."""
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * GIGABYTE))
    for _ in range(10 * GIGABYTE // len(CHUNK)):
        await send(CHUNK)


async def huge_chunks(send):
    """10 GB, unannounced."""
    await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10 * GIGABYTE // len(CHUNK)):
        await send(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))


async def endless_headers(send):
    await send(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        number += 1
        await send(b"X-Header-%d: %s\r\n" % (number, b"y" * 1000))


async def endless_header_line(send):
    await send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        await send(CHUNK)


async def endless_continue(send):
    """Interim answers without end."""
    while True:
        await send(b"HTTP/1.1 100 Continue\r\n\r\n")


async def slow_headers(send):
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}":
        await send(bytes([byte]))
        await asyncio.sleep(1)


async def slow_body(send):
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await send(b" ")
        await asyncio.sleep(1)


async def gzip_bomb(send):
    """1 GB of spaces in 1 MB."""
    compressed = gzip.compress(b" " * (GIGABYTE // 16))
    await send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(16):
        await send(b"%x\r\n%s\r\n" % (len(compressed), compressed))
    await send(b"0\r\n\r\n")


async def truncated_chunks(send):
    await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"ok\":")


async def truncated_body(send):
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":")


async def bad_chunk_size(send):
    await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n{}\r\n0\r\n\r\n")


async def negative_length(send):
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}")


async def no_status_line(send):
    await send(b"{\"ok\": true}\r\n\r\n")


async def binary_noise(send):
    await send(bytes(range(256)) * 64)


async def status_zero(send):
    await send(b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n")


async def zero_bytes_in_json(send):
    body = b"{\"results\": \x00[]}"
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def invalid_utf8(send):
    body = b"{\"error\": \"\xff\xfe \xc3\x28\"}"
    await send(b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
               % (len(body), body))


async def deep_json(send):
    body = b"[" * 500000
    await send(b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
               % (len(body), body))


async def accept(send, body):
    """A 200 whose body is the only thing that is wrong."""
    await send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
               % (len(body), body))


async def json_zero_bytes(send):
    await accept(send, b"{\"results\": [{\"status\": \"bad\", \"error\": \"a\x00b\"}]}")


async def json_escaped_zero(send):
    await accept(send, b"{\"results\": [{\"status\": \"bad\", \"error\": \"a\\u0000b\\ud800c\"}]}")


async def json_invalid_utf8(send):
    await accept(send, b"{\"results\": [{\"status\": \"bad\", \"error\": \"a\xff\xfe\xc3(b\"}]}")


async def json_deep(send):
    await accept(send, b"{\"results\": " + b"[" * 300000 + b"]" * 300000 + b"}")


async def json_long_number(send):
    await accept(send, b"{\"results\": [{\"status\": " + b"9" * 500000 + b"}]}")


async def json_large_exponent(send):
    await accept(send, b"{\"results\": [{\"status\": 1e999999999}]}")


async def json_many_results(send):
    await accept(send, b"{\"results\": [" + b"{}," * 300000 + b"{}]}")


async def json_long_message(send):
    await accept(send, b"{\"results\": [{\"status\": \"bad\", \"error\": \"" + b"blah " * 180000 + b"\"}]}")


async def json_two_documents(send):
    await accept(send, b"{\"results\": [{\"status\": \"ok\"}]} {\"results\": []}")


async def json_byte_order_mark(send):
    await accept(send, b"\xef\xbb\xbf{\"results\": [{\"status\": \"ok\"}]}")


async def json_as_text(send):
    """Right, under a wrong Content-Type."""
    body = b"{\"results\": [{\"status\": \"ok\"}]}"
    await send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def silence(send):
    await asyncio.sleep(3600)


async def hang_up(send):
    return


ANSWERS = {name: function for name, function in globals().items()
           if asyncio.iscoroutinefunction(function) and name not in ("accept", "serve", "read_body", "answer", "main")}

figures = {}


async def serve(reader, writer):
    """Reads one request, gives the answer that its path names, closes."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode("ascii").lstrip("/").split("?")[0]
        await read_body(reader, head)
        await answer(path, writer)
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def read_body(reader, head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))


async def answer(path, writer):
    if path == "figures":
        body = json.dumps(figures).encode("ascii")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        return
    figure = figures.setdefault(path, {"requests": 0, "bytes": 0})
    figure["requests"] += 1

    async def send(data):
        writer.write(data)
        await writer.drain()
        figure["bytes"] += len(data)

    await ANSWERS[path](send)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
