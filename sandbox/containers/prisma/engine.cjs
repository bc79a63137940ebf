// Prisma's query engine as prisma-client-py starts it: an HTTP server in front of the engine's own WebAssembly build.
//
//   node engine.cjs -p PORT   with PRISMA_DML_PATH, DATABASE_URL
//
// The queries, their SQL and the codes of their errors are the engine's (npm's @prisma/client). What is not: the GraphQL
// that the Python client sends is turned into the JSON that this build takes; connections are those of node-postgres,
// whose failures are given the engine's own codes. It has no metrics and takes no playground.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const { parse } = require("graphql");
const { PrismaPg } = require("@prisma/adapter-pg");
const { bindAdapter } = require("@prisma/driver-adapter-utils");
const pg = require("pg");
const { connection, untrusted } = require("./connection.cjs");
const runtime = require("@prisma/client/runtime/query_engine_bg.postgresql.js");

const ACTIONS =
  /^(findUnique|findFirst|findMany|createOne|createMany|updateOne|updateMany|deleteOne|deleteMany|upsertOne|aggregate|groupBy)(.+?)(OrThrow)?$/;
// Of PostgreSQL's catalogs, unknown to the adapter: name and name[] as text and text[].
const AS_TEXT = { 19: 25, 1003: 1009 };

const datamodel = fs.readFileSync(process.env.PRISMA_DML_PATH, "utf8");
const models = readModels(datamodel);
const database = new URL(process.env.DATABASE_URL);
const pool = new pg.Pool({
  ...connection(process.env.DATABASE_URL),
  max: Number(database.searchParams.get("connection_limit") || 10),
  idleTimeoutMillis: 300_000, // as the engine with connections of its own
  connectionTimeoutMillis: 1000 * Number(database.searchParams.get("connect_timeout") || 5),
});
pool.on("error", () => {}); // an idle connection that ends is replaced
const submitted = pg.Query.prototype.handleRowDescription;
pg.Query.prototype.handleRowDescription = function (message) {
  for (const field of message.fields) field.dataTypeID = AS_TEXT[field.dataTypeID] ?? field.dataTypeID;
  return submitted.call(this, message);
};
const adapter = bindAdapter(new PrismaPg(pool));

function readModels(text) {
  const found = {};
  for (const [, name, body] of text.matchAll(/^model (\w+) \{([^]*?)^\}/gm)) {
    found[name] = {};
    for (const [, field, type] of body.matchAll(/^\s+(\w+)\s+(\w+)/gm)) found[name][field] = type;
  }
  return found;
}

/** A GraphQL value as JSON. */
function plain(node) {
  switch (node.kind) {
    case "NullValue":
      return null;
    case "IntValue":
    case "FloatValue":
      return Number(node.value);
    case "ListValue":
      return node.values.map(plain);
    case "ObjectValue":
      return Object.fromEntries(node.fields.map((field) => [field.name.value, plain(field.value)]));
    default:
      return node.value;
  }
}

/** Arguments with the values of Json fields marked as JSON, which in GraphQL they are by their field alone. */
function marked(value, model) {
  if (Array.isArray(value)) return value.map((item) => marked(item, model));
  if (value === null || typeof value !== "object") return value;
  const fields = models[model] ?? {};
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const type = fields[key];
      if (type === "Json") return [key, json(item)];
      return [key, marked(item, models[type] ? type : model)];
    }),
  );
}

function json(value) {
  if (typeof value === "string") return { $type: "Json", value };
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === "path" ? item : json(item)]));
}

function argumentsOf(node, model) {
  return marked(Object.fromEntries(node.arguments.map((item) => [item.name.value, plain(item.value)])), model);
}

function selectionOf(node, model) {
  const fields = node.selectionSet?.selections ?? [];
  return Object.fromEntries(
    fields.map((field) => {
      const name = field.name.value;
      const related = models[model]?.[name];
      const inner = models[related] ? related : model;
      if (!field.selectionSet && !field.arguments.length) return [name, true];
      return [name, { arguments: argumentsOf(field, inner), selection: selectionOf(field, inner) }];
    }),
  );
}

/** A GraphQL document with one field, as a query of the engine's JSON protocol. */
function translated(text) {
  const [field] = parse(text).definitions[0].selectionSet.selections;
  const name = field.name.value;
  if (name === "queryRaw" || name === "executeRaw")
    return { action: name, query: { arguments: argumentsOf(field), selection: {} } };
  const [, action, model, orThrow] = ACTIONS.exec(name);
  return {
    modelName: model,
    action: action + (orThrow ?? ""),
    query: { arguments: argumentsOf(field, model), selection: selectionOf(field, model) },
  };
}

/** An answer without the marks of its values' types. */
function unmarked(value) {
  if (Array.isArray(value)) return value.map(unmarked);
  if (value === null || typeof value !== "object") return value;
  if ("$type" in value) return value.value;
  if (value.prisma__type === "json" && typeof value.prisma__value === "string")
    return { ...value, prisma__value: JSON.parse(value.prisma__value) };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unmarked(item)]));
}

function answered(result) {
  if (result.errors) return { errors: result.errors.map(named) };
  return { data: { result: unmarked(Object.values(result.data)[0]) } };
}

/** An error of node-postgres, which the engine only numbers, as the engine with connections of its own words it. */
function named(error) {
  const id = error.user_facing_error?.meta?.id;
  if (error.user_facing_error?.error_code !== "P2036" || id === undefined) return error;
  const cause = adapter.errorRegistry.consumeError(id)?.error;
  return { ...error, ...(cause ? connectionError(cause) : {}) };
}

function connectionError(cause) {
  const at = `\`${database.hostname}:${database.port || 5432}\``;
  const known = (error_code, message) => ({ error: message, user_facing_error: { is_panic: false, message, meta: {}, error_code } });
  if (cause.code === "28P01" || cause.code === "28000")
    return known("P1000", `Authentication failed against database server at \`${database.hostname}\`, the provided database credentials for \`${database.username}\` are not valid.\n\nPlease make sure to provide valid database credentials for the database server at \`${database.hostname}\`.`);
  if (cause.code === "3D000") return known("P1003", `Database \`${database.pathname.slice(1)}\` does not exist on the database server at ${at}.`);
  if (cause.code === "53300") return known("P2037", `Too many database connections opened: ${cause.severity}: ${cause.message}`);
  if (cause.severity) {
    const error = `PostgresError { code: "${cause.code}", message: "${cause.message}", severity: "${cause.severity}", detail: None, column: None, hint: None }`;
    const message = `Error occurred during query execution:\nConnectorError(ConnectorError { user_facing_error: None, kind: QueryError(${error}), transient: false })`;
    return { error: message, user_facing_error: { is_panic: false, message, backtrace: null } };
  }
  if (untrusted(cause)) return known("P1011", `Error opening a TLS connection: ${cause.message}`);
  if (/terminated unexpectedly|ECONNRESET|EPIPE/.test(`${cause.code} ${cause.message}`))
    return known("P1017", "Server has closed the connection.");
  if (cause.code || /timeout|connect/i.test(cause.message))
    return known("P1001", `Can't reach database server at ${at}\n\nPlease make sure your database server is running at ${at}.`);
  return known("P2010", cause.message);
}

async function query(engine, body, transaction) {
  if (!body.batch) return answered(JSON.parse(await engine.query(JSON.stringify(translated(body.query)), "{}", transaction)));
  const batch = { batch: body.batch.map((item) => translated(item.query)) };
  if (body.transaction) batch.transaction = {};
  const result = JSON.parse(await engine.query(JSON.stringify(batch), "{}", transaction));
  return result.errors ? answered(result) : { batchResult: result.batchResult.map(answered) };
}

async function respond(engine, request, text) {
  const [, what, id, action] = request.url.split("?")[0].split("/");
  if (request.method === "GET" && what === "status") return { status: "ok" };
  if (what === "transaction" && id === "start") {
    return withErrors(JSON.parse(await engine.startTransaction(text, "{}")));
  }
  if (what === "transaction" && action === "commit") return withErrors(JSON.parse((await engine.commitTransaction(id, "{}")) || "{}"));
  if (what === "transaction" && action === "rollback") return withErrors(JSON.parse((await engine.rollbackTransaction(id, "{}")) || "{}"));
  return query(engine, JSON.parse(text), request.headers["x-transaction-id"]);
}

function withErrors(result) {
  if (!result.error_code && !result.errorCode) return result;
  return { errors: [named({ error: result.message, user_facing_error: result })] };
}

async function main() {
  const wasm = fs.readFileSync(require.resolve("@prisma/client/runtime/query_engine_bg.postgresql.wasm"));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), { "./query_engine_bg.js": runtime });
  runtime.__wbg_set_wasm(instance.exports);
  const options = { datamodel, env: process.env, logQueries: false, logLevel: "error", ignoreEnvVarErrors: true, datasourceOverrides: {}, configDir: ".", engineProtocol: "json" };
  const engine = new runtime.QueryEngine(options, () => {}, adapter);
  // The engine connects before it serves.
  try {
    await pool.query("SELECT 1");
  } catch (error) {
    process.stderr.write(`${JSON.stringify(connectionError(error).user_facing_error)}\n`);
    process.exit(1);
  }
  await engine.connect("{}");
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      let answer;
      try {
        answer = await respond(engine, request, Buffer.concat(parts).toString());
      } catch (error) {
        answer = { errors: [{ error: String(error.message ?? error), user_facing_error: { is_panic: false, message: String(error.message ?? error) } }] };
      }
      const text = JSON.stringify(answer);
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
      response.end(text);
    });
  });
  server.keepAliveTimeout = 0;
  server.listen(Number(process.argv[process.argv.indexOf("-p") + 1]), "127.0.0.1");
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(0), 1000);
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
}

main();
