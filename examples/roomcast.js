/**
 * A client of a roomcast server, for browsers. One file, without dependencies: copy it into your project.
 *
 *     import { Client } from './roomcast.js';
 *     const room = new Client('/ws/{room}', { params: { room: 'tea' }, queueMax: 8, onmessage: console.log });
 *     room.send({ text: 'hello' });
 *
 * A client joins a room when it connects to the address of the room. When a connection ends, its close code decides
 * whether and when the client reconnects:
 *
 * | code                         | when a hub closes with this code                 | the client reconnects        |
 * |------------------------------|--------------------------------------------------|------------------------------|
 * | 1001, 1012                   | the hub ends or restarts; 1001: or a silent link | within `waitMinMs`           |
 * | 1005, 1006                   | never: a broken link or a refusal (503, 429)     | with back-off                |
 * | 1011                         | a handler panicked                               | with back-off                |
 * | 1013                         | the hub is overloaded                            | after 5 s, and with back-off |
 * | 1008 for pace (`PACE`)       | the client is too slow, or sends too much        | with back-off                |
 * | 1008 for other reasons       | a retry would fail again: a bad room name, …     | never                        |
 * | 1000                         | the application decides                          | never                        |
 * | 1002, 1003, 1007, 1009, 1010 | the client sent something invalid                | never                        |
 * | 3000 to 4999                 | the application decides                          | never                        |
 * | others                       | never                                            | with back-off                |
 *
 * If the reason ends with `retry-after-ms=N`, the client reconnects whatever the code is: after at least N ms plus a
 * random wait. The option `again` overrides all of these rules.
 *
 * Back-off is a random wait of at most `waitMinMs * 2 ** failures`, and at most `waitMaxMs`: the "full jitter" of Marc
 * Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. A server may accept and close at once, so
 * only a connection that was open for `steadyMs` resets the number of failures. If a connection ends earlier, 1001 and
 * 1012 count as failures, too.
 *
 * Pages cannot send pings, so a link that dies in silence looks open for many minutes. This client sends an empty
 * message after each `heartbeatMs` of silence; a hub answers the empty message by itself. If nothing arrives within
 * `heartbeatTimeoutMs`, the client treats the link as dead (1006). When a page is shown again, or its network is back,
 * the client sends the empty message at once, and waits for `wakeTimeoutMs`. Browsers delay the timers of hidden pages
 * and stop the timers of frozen pages. A timer that fires late therefore proves nothing: the client sends the empty
 * message again, at most three times in all.
 *
 * Delivery is at most once, like the hub's: messages in transit are lost when a connection breaks.
 */

/**
 * @typedef {{ code: number, reason: string }} Close how a connection ended
 * @typedef {'sent' | 'doubtful' | 'queued' | 'dropped'} Fate of a message; `doubtful`: sent, but the link may be dead
 * @typedef {{ name: 'connecting' | 'open' } | { name: 'closed' } & Close
 *   | { name: 'waiting', waitMs: number, due: number } & Close} State `waiting` ends at the time `due`, by `Date.now()`
 */
/**
 * @template In
 * @typedef {object} Options
 * @property {Record<string, string>} [params] values for the `{names}` in the address
 * @property {string | string[]} [protocols] subprotocols to offer
 * @property {(message: In) => void} [onmessage] gets each message
 * @property {(state: State) => void} [onstate] gets each new state; messages that it sends on `open` precede the queue
 * @property {(data: unknown) => void} [onundecodable] gets each message that is not JSON; by default, ignored
 * @property {(close: Close, usual: boolean) => boolean} [again] whether to reconnect; `usual` is the default decision
 * @property {number} [queueMax] the most messages that wait for a connection, default 0
 * @property {number} [bufferBytesMax] the most bytes that wait for a connection or for the network, default 1 MiB
 * @property {number} [waitMinMs] default 250
 * @property {number} [waitMaxMs] default 30,000
 * @property {number} [steadyMs] default 5,000
 * @property {number} [openTimeoutMs] default 20,000; a connection that is not open by then has failed, as with 1006
 * @property {number} [heartbeatMs] default 20,000; 0 (no dead link is noticed) if the server ignores empty messages
 * @property {number} [heartbeatTimeoutMs] default 10,000
 * @property {number} [wakeTimeoutMs] default 3,000
 * @property {() => number} [random] from 0 to below 1, default `Math.random`
 */

const ANNOUNCED = new Set([1001, 1012]);
const FINAL = new Set([1000, 1002, 1003, 1007, 1009, 1010]);
const PACE = new Set(['slow client', 'too many messages', 'too many bytes', 'message took too long']);
const OVERLOADED = 1013, OVERLOADED_MS = 5_000;
const WAKES = ['visibilitychange', 'pageshow', 'online'];
const LATE_MS = 1_000, ASKS_MAX = 3; // timers of hidden pages fire once a second
const TIMER_MAX_MS = 2 ** 31 - 1; // browsers fire a longer timer at once

const DEFAULTS = {
  params: {}, protocols: [], onmessage() {}, onstate() {}, onundecodable() {},
  again: (/** @type {Close} */ _, /** @type {boolean} */ usual) => usual,
  queueMax: 0, bufferBytesMax: 1024 * 1024,
  waitMinMs: 250, waitMaxMs: 30_000, steadyMs: 5_000, openTimeoutMs: 20_000,
  heartbeatMs: 20_000, heartbeatTimeoutMs: 10_000, wakeTimeoutMs: 3_000, random: Math.random,
};

/**
 * @template [In=any] messages from the server
 * @template [Out=In] messages to the server
 */
export class Client {
  /** Messages dropped because a buffer was full, or because they were still queued when the client closed. */
  dropped = 0;

  /** @type {Required<Options<In>>} */ #options;
  /** @type {State} */ #state = { name: 'connecting' };
  /** @type {{ text: string, bytes: number }[]} */ #queue = [];
  /** @type {WebSocket | undefined} */ #socket;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #url; #failures = 0; #openedAt = Infinity; #heardAt = 0; #isInDoubt = false; #earliest = 0; #isOver = false;

  /**
   * Connects. The first state is `connecting`; `onstate` gets the later states.
   * @param {string | URL} address such as `/ws/{room}`
   * @param {Options<In>} [options]
   */
  constructor(address, options) {
    this.#options = { ...DEFAULTS, ...options };
    this.#url = resolve(`${address}`, this.#options.params);
    this.#connect();
  }

  get state() { return this.#state; }
  /** The number of messages that wait for a connection. */
  get queued() { return this.#queue.length; }
  /** Whether a heartbeat was sent and the server has not answered yet. */
  get isInDoubt() { return this.#isInDoubt; }

  /**
   * Sends a message, or queues it if there is no connection. Drops and counts it if the buffer or queue has no space, or
   * the client is closed.
   * @param {Out} message
   * @returns {Fate}
   */
  send(message) {
    const text = JSON.stringify(message), bytes = new TextEncoder().encode(text).length;
    const socket = this.#socket?.readyState === WebSocket.OPEN ? this.#socket : null;
    const waiting = socket?.bufferedAmount ?? this.#queue.reduce((sum, queued) => sum + queued.bytes, 0);
    const fits = waiting + bytes <= this.#options.bufferBytesMax;
    if (socket && fits) {
      socket.send(text);
      return this.#isInDoubt ? 'doubtful' : 'sent';
    }
    if (!socket && fits && this.#state.name !== 'closed' && this.#queue.length < this.#options.queueMax) {
      this.#queue.push({ text, bytes });
      return 'queued';
    }
    this.dropped++;
    return 'dropped';
  }

  /** Closes an open connection or ends the wait, and connects again. Does nothing while connecting. */
  reconnect() {
    if (this.#isOver || this.#state.name === 'connecting') return;
    this.#connect();
    this.#enter({ name: 'connecting' });
  }

  /** Closes the client for good. The code is 1000, or from 3000 to 4999. */
  close(code = 1000, reason = '') {
    if (this.#isOver) return;
    this.#leave(code, reason);
    this.#isOver = true;
    this.#finish({ code, reason });
  }

  #connect() {
    this.#leave();
    const socket = this.#socket = new WebSocket(this.#url, this.#options.protocols);
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#ended({ code, reason });
    WAKES.forEach(type => globalThis.addEventListener?.(type, this.#wake));
    const late = () => this.#ended({ code: 1006, reason: 'no answer' });
    this.#timer = setTimeout(late, this.#options.openTimeoutMs);
  }

  #opened() {
    this.#openedAt = this.#heardAt = performance.now();
    this.#rest();
    try {
      this.#enter({ name: 'open' });
    } finally {
      if (this.#state.name === 'open') for (const { text } of this.#queue.splice(0)) this.#socket?.send(text);
    }
  }

  /** @param {any} data */
  #receive(data) {
    this.#heardAt = performance.now();
    if (this.#isInDoubt) this.#rest();
    if (data === '') return;
    let message;
    try { message = JSON.parse(data); } catch { return this.#options.onundecodable(data); }
    this.#options.onmessage(message);
  }

  /** Sends a heartbeat after `heartbeatMs` of silence. A message in between only updates `#heardAt`, not the timer. */
  #rest() {
    clearTimeout(this.#timer);
    this.#isInDoubt = false;
    const { heartbeatMs, heartbeatTimeoutMs } = this.#options;
    if (heartbeatMs === 0) return;
    const leftMs = () => Math.min(TIMER_MAX_MS, this.#heardAt + heartbeatMs - performance.now());
    this.#timer = setTimeout(() => leftMs() > 0 ? this.#rest() : this.#ask(heartbeatTimeoutMs), leftMs());
  }

  /**
   * Sends a heartbeat. A late timer shows that the page slept, and the answer may still wait in its queue: asks again.
   * @param {number} timeoutMs
   */
  #ask(timeoutMs, asks = ASKS_MAX) {
    clearTimeout(this.#timer);
    this.#isInDoubt = true;
    this.#socket?.send('');
    const due = performance.now() + timeoutMs;
    this.#timer = setTimeout(() => {
      const isLate = performance.now() > due + LATE_MS;
      if (isLate && asks > 1) this.#ask(timeoutMs, asks - 1);
      else this.#ended({ code: 1006, reason: 'no sign of life' });
    }, timeoutMs);
  }

  // If the server has asked for a wait, the client waits even when the network is back.
  #wake = (/** @type {Event} */ { type }) => {
    const { heartbeatMs, wakeTimeoutMs } = this.#options;
    if (type === 'visibilitychange' && document.hidden) return;
    if (this.#state.name === 'open' && heartbeatMs > 0) this.#ask(wakeTimeoutMs);
    if (this.#state.name === 'waiting' && Date.now() >= this.#earliest) this.reconnect();
  };

  /** @param {Close} close */
  #ended(close) {
    const { again, random, waitMinMs, waitMaxMs, steadyMs } = this.#options;
    const hasHeld = performance.now() - this.#openedAt >= steadyMs;
    this.#leave();
    if (hasHeld) this.#failures = 0;
    if (!hasHeld || !ANNOUNCED.has(close.code)) this.#failures++;
    const asked = close.reason.match(/\bretry-after-ms=(\d+)$/)?.[1];
    if (!again(close, asked !== undefined || comesBack(close))) return this.#finish(close);
    const least = Number(asked ?? (close.code === OVERLOADED ? OVERLOADED_MS : 0));
    const spread = random() * Math.min(waitMaxMs, waitMinMs * 2 ** this.#failures);
    const waitMs = Math.min(TIMER_MAX_MS, least + spread);
    this.#earliest = Date.now() + least;
    this.#timer = setTimeout(() => this.reconnect(), waitMs);
    this.#enter({ name: 'waiting', ...close, waitMs, due: Date.now() + waitMs });
  }

  #leave(code = 1000, reason = '') {
    clearTimeout(this.#timer);
    this.#isInDoubt = false;
    if (!this.#socket) return;
    this.#socket.close(code, reason);
    // The old socket may still receive; its events are ignored.
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket = undefined;
    this.#openedAt = Infinity;
  }

  /** @param {Close} close */
  #finish(close) {
    WAKES.forEach(type => globalThis.removeEventListener?.(type, this.#wake));
    this.dropped += this.#queue.splice(0).length;
    this.#enter({ name: 'closed', ...close });
  }

  /** @param {State} state */
  #enter(state) {
    this.#state = state;
    this.#options.onstate(state);
  }
}

/** @param {Close} close */
function comesBack({ code, reason }) {
  return code === 1008 ? PACE.has(reason) : !FINAL.has(code) && code < 3000;
}

/** @param {string} address @param {Record<string, string>} params */
function resolve(address, params) {
  const filled = address.replace(/\{(\w+)\}/g, (_, name) => {
    // Browsers remove the path segments `.` and `..`, also when they are percent-encoded.
    if (!params[name] || /^\.\.?$/.test(params[name])) throw new RangeError(`no part of a path: {${name}}`);
    return encodeURIComponent(params[name]);
  });
  const url = new URL(filled, globalThis.location?.href);
  url.protocol = url.protocol.replace('http', 'ws');
  return url;
}
