// What code finds around it: console, timers, and clients whose calls go to the worker.
// It is no boundary: code that tampers with it harms its own run. The process is the boundary.
((maxCalls, maxLog) => {
  "use strict";
  const { parse, stringify } = JSON;
  const { now } = Date;
  const began = now();
  const frames = [];
  const open = new Map();
  const timers = new Map();
  const failures = new WeakMap();
  let ids = 0;
  let logged = 0;

  const send = (kind, value) => frames.push(kind + stringify(value));

  const inspect = (value) => {
    if (typeof value === "string") return value;
    if (typeof value === "function") return `[Function ${value.name || "anonymous"}]`;
    if (typeof value === "bigint") return `${value}n`;
    if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
    if (typeof value === "object") {
      try {
        return stringify(value) ?? String(value);
      } catch {
        return "[unreadable object]";
      }
    }
    return String(value);
  };

  const log = (level) => (...values) => {
    if (logged > maxLog) return;
    let message = values.map(inspect).join(" ").trimEnd();
    logged += message.length + 50; // what a line takes besides its text
    if (logged > maxLog) message = `${message.slice(0, 200)}… (the log is full)`;
    send("L", { level, message, after: now() - began });
  };
  const console = { log: log("info"), info: log("info"), debug: log("debug"), warn: log("warn"), error: log("error") };

  const call = (client, { method = "GET", path, uri, query, headers, data, body, returnFullResponse }) =>
    new Promise((resolve, reject) => {
      if (open.size >= maxCalls) throw new Error(`More than ${maxCalls} calls at once.`);
      const here = new Error();
      const id = ++ids;
      send("C", { id, client, method, path: path ?? uri, query, headers, data: data ?? body });
      open.set(id, { resolve, reject, here, full: returnFullResponse });
    });

  const client = (name) => {
    const request = (options) => call(name, typeof options === "string" ? { path: options } : options);
    const send = (method) => (path, data, options) => call(name, { ...options, method, path, data });
    return {
      get: (path, query, options) => call(name, { query, ...options, method: "GET", path }),
      post: send("POST"),
      put: send("PUT"),
      patch: send("PATCH"),
      delete: send("DELETE"),
      request,
      makeRequest: request,
      makeApiRequest: request,
    };
  };

  const answer = ({ id, response, error }) => {
    const waiting = open.get(id);
    if (!waiting) return;
    open.delete(id);
    if (response) return waiting.resolve(waiting.full ? response : response.data);
    const failure = Object.assign(waiting.here, error);
    failures.set(failure, id);
    waiting.reject(failure);
  };

  const describe = (error) => {
    try {
      if (error === null || typeof error !== "object") return { name: "Error", message: inspect(error) };
      const { name, message, stack } = error;
      const said = message === undefined ? inspect(error) : message;
      return { name: String(name), message: String(said), stack: String(stack), call: failures.get(error) };
    } catch {
      return { name: "Error", message: "The code threw something that cannot be read." };
    }
  };

  const entry = (space) => {
    for (const found of [space.default, globalThis.module?.exports, globalThis.module?.exports?.default])
      if (typeof found === "function") return found;
    throw new TypeError(
      "The code exports no function. Write `export default async ({ input }) => …` or `module.exports = async ({ input }) => …`.",
    );
  };

  const start = async (given, isModule) => {
    try {
      const main = entry(isModule ? await import("<input>") : {});
      const value = await main({
        ...parse(given),
        externalApiClient: client("externalApiClient"),
        engineApiClient: client("engineApiClient"),
      });
      let text;
      try {
        text = stringify(value) ?? "null";
      } catch (error) {
        const { message, stack } = describe(error);
        return send("E", { name: "TypeError", message: `What the code returned cannot be made JSON: ${message}`, stack });
      }
      frames.push(`R${text}`);
    } catch (error) {
      send("E", describe(error));
    }
  };

  // Milliseconds until there is something to do; -1: until an answer comes; -2: for ever.
  const wait = () => {
    let next = Infinity;
    for (const timer of timers.values()) next = Math.min(next, timer.at);
    if (next < Infinity) return Math.max(0, next - now());
    return open.size > 0 ? -1 : -2;
  };

  const fire = () => {
    for (const [id, { at, work, values }] of timers) {
      if (at > now() || !timers.delete(id)) continue;
      work(...values);
      return;
    }
  };

  Object.assign(globalThis, {
    console,
    module: { exports: {} },
    require: (name) => {
      throw new Error(`could not load module '${name}'`);
    },
    setTimeout: (work, delay = 0, ...values) => {
      if (typeof work !== "function") throw new TypeError("setTimeout takes a function.");
      timers.set(++ids, { at: now() + Math.max(0, Number(delay) || 0), work, values });
      return ids;
    },
    clearTimeout: (id) => void timers.delete(id),
  });
  globalThis.exports = globalThis.module.exports;

  const doors = { start, wait, fire, answer: (text) => answer(parse(text)), next: () => frames.shift() };
  return (door, ...values) => doors[door](...values);
})
