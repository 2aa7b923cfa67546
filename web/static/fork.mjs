/**
 * Starts a worker with a Python of its own, joined to this thread by a MessagePort.
 *
 *   worker → parent   READY                       its script runs
 *   parent → worker   BOOT {settings, parts, …}   what this thread's Python was started from
 *   worker → parent   PHASE {phase}*              Python boots; a spare waits here
 *   parent → worker   RUN {id, main, env, …}      a port goes along
 *   worker → parent   STARTED                     main runs
 *   worker → parent   EXIT | ERROR {message}      main returned | something failed
 *   worker → parent   KEEP {id, secret}           a resume secret, for the tab to keep
 *   worker → parent   DOWNLOAD {over}             an import waits for a file, and nothing is answered until then
 *   parent → worker   PORT                        another port, after the first was closed
 *   parent → worker   PAGE {state}                what happens to the page (lifecycle.mjs)
 *
 * PING and PONG go over the same pair from READY on, since neither a crash nor an endless loop closes a port. A worker
 * that keeps silent for longer than its patience is stuck: where pages are isolated an error is raised in what it does.
 * It is dead when that has not helped within half its patience more, or cannot be. A computer that is slow gets more: this
 * half begins when Python has looked. A spare has to answer a PING before it gets the order; one that has died meanwhile
 * does not, and a new worker gets it.
 *
 * So with a patience of 1.5 s, counted from the last sign of life, which is up to a beat before it got stuck:
 *
 *   0.25 s   the first PING that is not answered
 *   1 s      a spare begins to start, if there is none
 *   1.75 s   the error; where that cannot be raised, dead
 *   2.5 s    dead, or up to three beats later if Python has looked; who forked it forks again, the spare gets the order
 *   2.8 s    the new one's main runs
 */
import { follow, visibility } from "./lifecycle.mjs";
import { end as discard, expect, hatch, keep, refill, take } from "./spares.mjs";

export { keep as spare };

/**
 * @typedef {{id: string, main: string, env: Record<string, string>, patience: number}} Order patience in seconds
 * @typedef {import("./boot.mjs").Settings} Settings
 * @typedef {import("./boot.mjs").Parts} Parts
 * @typedef {{settings: Settings, parts: Parts, tab: import("./tab.mjs").Tab}} Inherited
 * @typedef {(type: string, json: string) => void} Tell
 * @typedef {{port: MessagePort, connect: () => MessagePort, bear: (patience: number) => void, terminate: () => void}}
 *   Forked `bear` is heeded from the next sign of life on
 */

const BEAT = 250;
/** Beats that it may keep silent until main runs, and in a download: a busy computer or a slow network take their time. */
const STARTING = 240;
/** From there on to the first answer. */
const SETTLING = 40;
/** Beats for a spare's first answer. */
const PROOF = 4;
const SIGINT = 2;

/** @type {Set<Worker>} */
const living = new Set();
follow((state) => living.forEach((worker) => worker.postMessage({ type: "PAGE", state })));

/**
 * @param {Order} order
 * @param {Inherited} inherited
 * @param {Tell} tell called with READY, PHASE, STARTED, and once with EXIT or ERROR, after which nothing follows
 * @returns {Forked}
 */
export function fork(order, inherited, tell) {
  let one = take() ?? hatch(order.id, inherited);
  const { port1, port2 } = new MessageChannel();
  let proven = !one.warm;
  let started = false;
  let silent = 0;
  let limit = STARTING;
  let downloading = false;
  let interrupted = false;
  /** At this beat it is dead, when it was interrupted. */
  let last = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let heart;

  const ping = () => one.worker.postMessage({ type: "PING" });
  const beat = () => {
    // Beats are counted, not seconds: after a freeze of this thread many seconds are one beat.
    silent += 1;
    const { interrupt } = one;
    if (!proven && silent === PROOF) return anew();
    if (downloading && silent < STARTING) return;
    if (started && silent > half()) expect(inherited, silent === half() + 1);
    if (silent <= limit) return ping(); // the first of these that was not answered was sent at the first beat
    if (interrupt && silent === limit + 1) return raise(interrupt);
    if (interrupted && interrupt?.[0] === 0) {
      interrupted = false;
      last = silent + half(); // it has looked since the last beat
    }
    if (!interrupt || silent >= last) end("ERROR", stuck((silent * BEAT) / 1000));
  };
  const raise = (/** @type {Uint8Array} */ interrupt) => {
    interrupt[0] = SIGINT;
    interrupted = true;
    last = silent + half();
  };
  const half = () => Math.ceil(limit / 2);
  const live = () => {
    clearInterval(heart);
    heart = setInterval(beat, BEAT);
  };
  const anew = () => {
    clearInterval(heart);
    discard(one);
    one = hatch(order.id, inherited);
    one.hear = hear;
    proven = true;
  };
  const end = (/** @type {string} */ type, /** @type {object} */ detail) => {
    clearInterval(heart);
    discard(one);
    living.delete(one.worker);
    tell(type, JSON.stringify(detail));
  };
  const replay = () => one.said.forEach(([type, detail]) => hear(type, detail));

  /** @type {import("./spares.mjs").Hear} */
  const hear = (type, detail) => {
    silent = 0;
    const { worker, interrupt } = one;
    if (!proven) {
      if (type === "ERROR") return anew();
      proven = true;
      return replay();
    }
    if (type === "PONG") {
      if (started) limit = Math.ceil((order.patience * 1000) / BEAT);
      if (interrupt) interrupt[0] = 0; // it came to itself
    } else if (type === "DOWNLOAD") {
      downloading = !(/** @type {{over: boolean}} */ (detail).over);
    } else if (type === "KEEP") {
      const { id, secret } = /** @type {{id: string, secret: string}} */ (detail);
      inherited.tab.keep(id, secret);
    } else if (type === "EXIT" || type === "ERROR") {
      end(type, detail);
    } else {
      if (type === "READY") {
        const given = { ...order, secrets: inherited.tab.secrets, page: visibility(), port: port2 };
        worker.postMessage({ type: "RUN", ...given }, [port2]);
        living.add(worker);
        live();
      }
      if (type === "STARTED") {
        started = true;
        limit = SETTLING;
        beat();
        refill(inherited);
      }
      tell(type, JSON.stringify(detail));
    }
  };
  one.hear = hear;
  if (proven) {
    queueMicrotask(replay); // not before the caller has what is returned
  } else {
    ping();
    live();
  }

  return {
    port: port1,
    connect() {
      const { port1: here, port2: there } = new MessageChannel();
      one.worker.postMessage({ type: "PORT", port: there }, [there]);
      return here;
    },
    bear(patience) {
      order.patience = patience;
    },
    terminate: () => end("EXIT", { reason: "terminated" }),
  };
}

/** @param {number} seconds */
const stuck = (seconds) => ({ code: "SILENT", message: `no sign of life for ${seconds} s` });
