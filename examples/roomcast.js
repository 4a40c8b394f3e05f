/**
 * A client of a roomcast server, for browsers. One file, without dependencies: copy it into your project.
 *
 *     import { Client } from './roomcast.js';
 *     const room = new Client('/ws/{room}', { params: { room: 'tea' }, queueMax: 8, onmessage: console.log });
 *     room.send({ text: 'hello' });
 *
 * Joining is connecting to an address. When a connection has ended, its close code decides what follows:
 *
 * | code                         | a hub closes with it                             | the client comes back        |
 * |------------------------------|--------------------------------------------------|------------------------------|
 * | 1001, 1012                   | when it ends or restarts; 1001 also silent links | within `waitMinMs`           |
 * | 1005, 1006                   | never: a link that broke, a refusal (503, 429)   | with back-off                |
 * | 1011                         | when a handler panicked                          | with back-off                |
 * | 1013                         | when it is overloaded                            | after 5 s, and with back-off |
 * | 1008 for pace (`PACE`)       | who is too slow, or sends too much               | with back-off                |
 * | 1008 for other reasons       | for what would only happen again: a bad room, …  | never                        |
 * | 1000                         | when the application says so                     | never                        |
 * | 1002, 1003, 1007, 1009, 1010 | for what it has been sent                        | never                        |
 * | 3000 to 4999                 | when the application says so                     | never                        |
 * | others                       | never                                            | with back-off                |
 *
 * A reason that ends with `retry-after-ms=N` invites back, whatever the code: after N ms at least, and a random wait
 * on top. The option `again` has the last word.
 *
 * Back-off is a random wait of at most `waitMinMs * 2 ** failures`, and `waitMaxMs`: the "full jitter" of Marc Brooker,
 * "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Only a connection that has held for `steadyMs` clears
 * the failures, for a server may accept and close at once; until then 1001 and 1012 count as one, too.
 *
 * Pages cannot ping, so a link that dies in silence looks open for many minutes. This client sends an empty message
 * after each `heartbeatMs` of silence, which a hub answers by itself. If nothing comes within `heartbeatTimeoutMs`, the
 * link is dead, as with 1006. A page that is shown again, or whose network is back, asks at once, and waits for
 * `wakeTimeoutMs`. Browsers delay the timers of hidden pages and stop those of frozen ones: a timer that fires late
 * proves nothing, and the client asks again, three times in all.
 *
 * Delivery is at most once, as the hub's: what was on its way when a connection broke is lost.
 */

/**
 * @typedef {{ code: number, reason: string }} Close how a connection ended
 * @typedef {'sent' | 'doubtful' | 'queued' | 'dropped'} Fate of a message: `doubtful` was sent, and the link may be dead
 * @typedef {{ name: 'connecting' | 'open' } | { name: 'closed' } & Close
 *   | { name: 'waiting', waitMs: number, due: number } & Close} State waiting ends when it is `due`, by `Date.now()`
 */
/**
 * @template In
 * @typedef {object} Options
 * @property {Record<string, string>} [params] values for the `{names}` in the address
 * @property {string | string[]} [protocols] subprotocols to offer
 * @property {(message: In) => void} [onmessage] gets each message
 * @property {(state: State) => void} [onstate] gets each new state; what it sends when `open` goes before the queue
 * @property {(data: unknown) => void} [onundecodable] gets what is no JSON; nobody by default
 * @property {(close: Close, usual: boolean) => boolean} [again] whether to come back; by default as usual
 * @property {number} [queueMax] messages that may wait for a connection, default 0
 * @property {number} [bufferBytesMax] bytes that may wait for a connection, or for the network, default 1 MiB
 * @property {number} [waitMinMs] default 250
 * @property {number} [waitMaxMs] default 30,000
 * @property {number} [steadyMs] default 5,000
 * @property {number} [openTimeoutMs] default 20,000: what is not open by then has failed, as with 1006
 * @property {number} [heartbeatMs] default 20,000; 0 for a server that answers no empty messages: nothing is noticed
 * @property {number} [heartbeatTimeoutMs] default 10,000
 * @property {number} [wakeTimeoutMs] default 3,000
 * @property {() => number} [random] from 0 to below 1, default `Math.random`
 */

const ANNOUNCED = new Set([1001, 1012]);
const FINAL = new Set([1000, 1002, 1003, 1007, 1009, 1010]);
const PACE = new Set(['slow client', 'too many messages', 'too many bytes', 'message took too long']);
const OVERLOADED = 1013, OVERLOADED_MS = 5_000;
const WAKES = ['visibilitychange', 'pageshow', 'online'];
const LATE_MS = 1_000, ASKS_MAX = 3; // hidden pages have one timer a second
const TIMER_MAX_MS = 2 ** 31 - 1; // beyond it browsers fire at once

const DEFAULTS = {
  params: {}, protocols: [], onmessage() {}, onstate() {}, onundecodable() {},
  again: (/** @type {Close} */ _, /** @type {boolean} */ usual) => usual,
  queueMax: 0, bufferBytesMax: 1024 * 1024,
  waitMinMs: 250, waitMaxMs: 30_000, steadyMs: 5_000, openTimeoutMs: 20_000,
  heartbeatMs: 20_000, heartbeatTimeoutMs: 10_000, wakeTimeoutMs: 3_000, random: Math.random,
};

/**
 * @template [In=any] what the server sends
 * @template [Out=In] what it is sent
 */
export class Client {
  /** Messages that found no room, or were queued at the end. */
  dropped = 0;

  /** @type {Required<Options<In>>} */ #options;
  /** @type {State} */ #state = { name: 'connecting' };
  /** @type {{ text: string, bytes: number }[]} */ #queue = [];
  /** @type {WebSocket | undefined} */ #socket;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #url; #failures = 0; #openedAt = Infinity; #heardAt = 0; #isInDoubt = false; #earliest = 0; #isOver = false;

  /**
   * Connects. The first state is `connecting`; `onstate` gets those that follow.
   * @param {string | URL} address such as `/ws/{room}`
   * @param {Options<In>} [options]
   */
  constructor(address, options) {
    this.#options = { ...DEFAULTS, ...options };
    this.#url = resolve(`${address}`, this.#options.params);
    this.#connect();
  }

  get state() { return this.#state; }
  /** Messages that wait for a connection. */
  get queued() { return this.#queue.length; }
  /** Whether the server has been asked for a sign of life and has not answered yet. */
  get isInDoubt() { return this.#isInDoubt; }

  /**
   * Sends a message; where that cannot be now, queues it, or drops and counts it.
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

  /** Connects anew, unless it is connecting: gives up a connection that is open, and waits no longer. */
  reconnect() {
    if (this.#isOver || this.#state.name === 'connecting') return;
    this.#connect();
    this.#enter({ name: 'connecting' });
  }

  /** Ends for good. The code is 1000, or one from 3000 to 4999. */
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

  /** Asks when the server has been silent for long. What comes meanwhile only notes its time. */
  #rest() {
    clearTimeout(this.#timer);
    this.#isInDoubt = false;
    const { heartbeatMs, heartbeatTimeoutMs } = this.#options;
    if (heartbeatMs === 0) return;
    const leftMs = () => Math.min(TIMER_MAX_MS, this.#heardAt + heartbeatMs - performance.now());
    this.#timer = setTimeout(() => leftMs() > 0 ? this.#rest() : this.#ask(heartbeatTimeoutMs), leftMs());
  }

  /**
   * Asks for a sign of life. The page may have slept, and an answer may wait in it: when the timer is late, asks again.
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

  // Who has been asked to wait does so, network or not.
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
    // It may still speak; nobody listens to it.
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
    // Browsers resolve dots away, also encoded ones.
    if (!params[name] || /^\.\.?$/.test(params[name])) throw new RangeError(`no part of a path: {${name}}`);
    return encodeURIComponent(params[name]);
  });
  const url = new URL(filled, globalThis.location?.href);
  url.protocol = url.protocol.replace('http', 'ws');
  return url;
}
