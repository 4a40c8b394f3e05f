// A server on ws: each message of a client goes to all members of its room, with permessage-deflate.
"use strict";

const { createServer } = require("node:http");
const { WebSocketServer } = require("ws");

const [host, serverNoContextTakeover] = [process.argv[2], process.argv[3] === "alone"];
const rooms = new Map();

function join(path, socket) {
    if (!rooms.has(path)) rooms.set(path, new Set());
    return rooms.get(path).add(socket);
}

const server = createServer();
const perMessageDeflate = { threshold: 0, serverNoContextTakeover };
new WebSocketServer({ server, perMessageDeflate }).on("connection", (socket, request) => {
    const members = join(request.url, socket);
    socket.on("message", (data, binary) => {
        for (const member of members) member.send(data, { binary });
    });
    socket.on("close", () => members.delete(socket));
    socket.on("error", () => {});
});

server.listen(0, host, () => {
    console.log(JSON.stringify(`${host}:${server.address().port}`));
});

// The parent has ended.
process.stdin.on("end", () => process.exit()).resume();
