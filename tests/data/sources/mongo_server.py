"""A loopback server that speaks as much of MongoDB's wire protocol as pymongo needs to read, over mongomock.

OP_MSG and the first OP_QUERY of a connection; cursors are cut into batches as a real server does. It is no MongoDB: it
holds the reader to the real driver (URLs, server selection, BSON, batches, lost connections), not to a real database.
"""

from __future__ import annotations

import itertools
import socketserver
import struct
import threading
from typing import Any

import bson
from bson.codec_options import CodecOptions

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
OPTIONS: CodecOptions[Any] = CodecOptions()


class MongoServer:
    """A server over the databases of a mongomock client; ``hang_up_after`` counts down the batches it still gives."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.hang_up_after: int | None = None
        self.commands: list[str] = []
        self._cursors: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        outer = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Connection)
        self.url = f"mongodb://127.0.0.1:{self._server.server_address[1]}/?directConnection=true&retryReads=false"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, connection: Any) -> None:
        while True:
            head = self._read(connection, 16)
            if head is None:
                return
            length, request, _, operation = struct.unpack("<iiii", head)
            body = self._read(connection, length - 16)
            if body is None:
                return
            if operation == OP_QUERY:
                end = body.index(b"\0", 4)
                command = bson.decode(body[end + 9 :], OPTIONS)
                content = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self._answer("admin", command))
                reply = OP_REPLY
            else:
                command = bson.decode(body[5:], OPTIONS)
                answer = self._answer(command.get("$db", "admin"), command)
                if answer is None:
                    return
                content, reply = struct.pack("<iB", 0, 0) + bson.encode(answer), OP_MSG
            connection.sendall(struct.pack("<iiii", 16 + len(content), next(self._numbers), request, reply) + content)

    @staticmethod
    def _read(connection: Any, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                part = connection.recv(count - len(data))
            except OSError:
                return None
            if not part:
                return None
            data += part
        return data

    def _answer(self, database: str, command: dict[str, Any]) -> dict[str, Any] | None:
        name = next(iter(command))
        self.commands.append(name)
        if name.lower() in {"hello", "ismaster"}:
            limits = {"maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}
            return {
                "ok": 1,
                "ismaster": True,
                "isWritablePrimary": True,
                "maxWireVersion": 21,
                "minWireVersion": 0,
            } | limits
        if name == "find":
            found = self.client[database][command["find"]].find(command.get("filter"), command.get("projection"))
            if "sort" in command:
                found = found.sort(list(command["sort"].items()))
            if command.get("limit"):
                found = found.limit(command["limit"])
            return self._batch(database, command["find"], iter(found), command.get("batchSize", 101), "firstBatch")
        if name == "getMore":
            cursor = self._cursors.pop(command["getMore"])
            if self.hang_up_after is not None:
                self.hang_up_after -= 1
                if self.hang_up_after < 0:
                    return None
            return self._batch(database, command["collection"], cursor, command.get("batchSize", 101), "nextBatch")
        if name == "aggregate":
            found = iter(self.client[database][command["aggregate"]].aggregate(command["pipeline"]))
            return self._batch(database, command["aggregate"], found, 101, "firstBatch")
        if name in {"ping", "endSessions", "killCursors"}:
            return {"ok": 1}
        return {"ok": 0, "errmsg": f"no such command: {name}", "code": 59}

    def _batch(self, database: str, collection: str, cursor: Any, size: int, key: str) -> dict[str, Any]:
        rows = list(itertools.islice(cursor, size))
        number = 0
        if len(rows) == size:
            number = next(self._numbers)
            self._cursors[number] = cursor
        return {"ok": 1, "cursor": {"id": bson.Int64(number), "ns": f"{database}.{collection}", key: rows}}
