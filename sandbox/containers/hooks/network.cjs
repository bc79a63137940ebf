// The pod's network for Node programs in it, as network.py is for Python's: names, addresses, and where they listen.
"use strict";

const dns = require("node:dns");
const fs = require("node:fs");
const net = require("node:net");

const LOOPBACK = new Set(["", "0.0.0.0", "::", "::1", "localhost", "127.0.0.1"]);
const known = {};

function read(path) {
  const changed = fs.statSync(path).mtimeMs;
  if (known[path]?.changed !== changed) known[path] = { changed, value: JSON.parse(fs.readFileSync(path, "utf8")) };
  return known[path].value;
}

const pod = () => read(process.env.SANDBOX_POD);

function resolve(host) {
  if (LOOPBACK.has(host) || host === pod().hostname) return ["127.0.0.1"];
  if (net.isIP(host)) return [host];
  if (!pod().resolves) return [];
  const names = read(pod().names);
  const bare = host.replace(/\.$/, "").toLowerCase();
  const tried = host.endsWith(".") ? [] : pod().search.map((domain) => `${bare}.${domain}`);
  const order = bare.split(".").length > 5 ? [bare, ...tried] : [...tried, bare];
  return names[order.find((name) => names[name])] ?? [];
}

function here(host, port) {
  const own = pod();
  const mapped = port >= 1024 || port === 0 ? port : port + 20000;
  if (LOOPBACK.has(host) || host === own.podIP) return [own.address, mapped];
  const [first, second, block, last] = host.split(".");
  if (first === "10" && second === "0" && block === "0") return [`127.${own.network}.0.${last}`, mapped];
  if (first === "10" && second === "8" && Number(block) >= 128) return [`127.${own.network}.${Number(block) - 64}.${last}`, mapped];
  return undefined;
}

function failure(code, text) {
  return Object.assign(new Error(text), { code, errno: code, syscall: "connect" });
}

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [options, callback] = net._normalizeArgs(Array.isArray(given[0]) ? given[0] : given);
  if (options.path) return connect.apply(this, given);
  const host = options.host || "localhost";
  const found = resolve(host);
  const target = found.length ? here(found[0], Number(options.port)) : undefined;
  if (!target) {
    const error = found.length ? failure("ENETUNREACH", `connect ENETUNREACH ${host}:${options.port}`) : failure("ENOTFOUND", `getaddrinfo ENOTFOUND ${host}`);
    process.nextTick(() => this.destroy(error));
    return this;
  }
  return connect.call(this, { ...options, host: target[0], port: target[1], localAddress: pod().address, family: 4 }, callback);
};

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  const [options, callback] = net._normalizeArgs(given);
  if (options.port === undefined || options.port === null) return listen.apply(this, given);
  const host = options.host || "127.0.0.1";
  if (!LOOPBACK.has(host) && host !== pod().podIP) throw failure("EADDRNOTAVAIL", `listen EADDRNOTAVAIL ${host}`);
  const [address, port] = here(host, Number(options.port));
  return listen.call(this, { ...options, host: address, port }, ...(callback ? [callback] : []));
};

dns.lookup = (host, options, callback) => {
  const done = callback ?? options;
  const [address] = resolve(host);
  if (!address) return process.nextTick(done, failure("ENOTFOUND", `getaddrinfo ENOTFOUND ${host}`));
  return process.nextTick(done, null, options?.all ? [{ address, family: 4 }] : address, 4);
};
