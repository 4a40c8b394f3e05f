// A member of the tests' room, for every kind of client that has the `WebSocket` of browsers.

// Close codes of the server: the member comes back, or goes on to the echo.
const COME_BACK = 4000;
const GO_ON = 4001;

/**
 * Reports each message of the room over a connection of its own, which is not compressed. Then sends messages to the
 * echo, and checks what comes back.
 *
 * @param {(url: string) => WebSocket} open
 * @param {string} base The address of the server.
 * @param {string} kind The name of the client.
 */
export async function takePart(open, base, kind) {
    const report = await opened(open(`${base}/report/${kind}`));
    try {
        while (await memberEnds(open(`${base}/member/${kind}`), report) === COME_BACK);
        report.send('the member has ended');
        const socket = await opened(open(`${base}/echo/${kind}`));
        for (const message of ownMessages()) await echoed(socket, message);
        report.send('all messages were echoed');
    } catch (error) {
        report.send(`failed: ${error}`);
    }
}

function opened(socket) {
    socket.binaryType = 'arraybuffer';
    return new Promise((resolve, reject) => {
        socket.onopen = () => resolve(socket);
        socket.onclose = ({ code }) => reject(new Error(`closed with ${code} while it opened`));
        socket.onerror = () => {};
    });
}

function memberEnds(socket, report) {
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => report.send(data);
    socket.onerror = () => {};
    return new Promise((resolve, reject) => {
        socket.onclose = ({ code, reason }) => {
            const isExpected = code === COME_BACK || code === GO_ON;
            isExpected ? resolve(code) : reject(new Error(`closed with ${code} ${reason}`));
        };
    });
}

function* ownMessages() {
    for (const size of [0, 1, 2, 125, 126, 127, 1_000, 65_535, 65_536, 300_000]) {
        yield '語 '.repeat(size / 4);
        yield Uint8Array.from({ length: size }, (_, at) => at % 8).buffer;
        yield Uint8Array.from({ length: size }, noise).buffer;
    }
}

/** A byte of a sequence that deflate cannot compress. */
function noise(_, at) {
    const mixed = Math.imul(at ^ (at >>> 15), 0x2c1b3c6d);
    return Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39) >>> 24;
}

function echoed(socket, message) {
    return new Promise((resolve, reject) => {
        socket.onmessage = ({ data }) =>
            isSame(data, message) ? resolve() : reject(new Error('the echo differs'));
        socket.onclose = ({ code, reason }) => reject(new Error(`echo: closed with ${code} ${reason}`));
        socket.send(message);
    });
}

function isSame(one, other) {
    if (typeof one === 'string' || typeof other === 'string') return one === other;
    const [bytes, others] = [new Uint8Array(one), new Uint8Array(other)];
    return bytes.length === others.length && bytes.every((byte, at) => byte === others[at]);
}
