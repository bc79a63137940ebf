// The `prisma` command as LiteLLM calls it, over node-postgres: npm's own needs a schema engine that no registry carries.
//
// `migrate deploy` applies the migrations beside ./schema.prisma, in order of their names, keeps the ledger
// _prisma_migrations as the schema engine does, and ends with its codes: P1000, P1001, P3005, P3009, P3018. `migrate resolve`
// and `db execute` are there. Nothing is compared: it knows neither `migrate diff` nor `db push`, which it refuses, nor does
// it see that a migration applied before was changed. The client is generated with the environment, so that `generate` has
// nothing to do.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const pg = require("pg");
const { connection, untrusted } = require("./connection.cjs");

const LEDGER = `CREATE TABLE IF NOT EXISTS _prisma_migrations (
  id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
  migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
  started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`;
const LOCK = 72707369; // the schema engine's advisory lock

class Refusal extends Error {}

async function connected() {
  const url = new URL(process.env.DATABASE_URL ?? "");
  const client = new pg.Client({ ...connection(url.href), connectionTimeoutMillis: 5000 });
  try {
    await client.connect();
  } catch (error) {
    const at = `\`${url.hostname}:${url.port || 5432}\``;
    if (/^28/.test(error.code ?? ""))
      throw new Refusal(`P1000: Authentication failed against database server at \`${url.hostname}\`, the provided database credentials for \`${url.username}\` are not valid.`);
    if (error.code === "3D000") throw new Refusal(`P1003: Database \`${url.pathname.slice(1)}\` does not exist`);
    if (untrusted(error)) throw new Refusal(`P1011: Error opening a TLS connection: ${error.message}`);
    throw new Refusal(`P1001: Can't reach database server at ${at}\n\nPlease make sure your database server is running at ${at}.`);
  }
  return client;
}

function migrations() {
  const folder = path.resolve("migrations");
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => fs.existsSync(path.join(folder, name, "migration.sql")))
    .sort()
    .map((name) => ({ name, sql: fs.readFileSync(path.join(folder, name, "migration.sql"), "utf8") }));
}

async function record(client, name, sql, finished) {
  const checksum = crypto.createHash("sha256").update(sql).digest("hex");
  const id = crypto.randomUUID();
  const values = [id, checksum, name];
  await client.query(`INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ($1, $2, $3, ${finished ? "now()" : "NULL"})`, values);
  return id;
}

async function deploy() {
  const known = migrations();
  console.log(`Prisma schema loaded from schema.prisma\n\n${known.length} migrations found in prisma/migrations\n`);
  const client = await connected();
  await client.query("SELECT pg_advisory_lock($1)", [LOCK]);
  const tables = await client.query("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()");
  const names = tables.rows.map((row) => row.tablename);
  if (!names.includes("_prisma_migrations") && names.length)
    throw new Refusal("P3005\n\nThe database schema is not empty. Read more about how to baseline an existing production database: https://pris.ly/d/migrate-baseline");
  await client.query(LEDGER);
  const { rows } = await client.query("SELECT migration_name, finished_at, rolled_back_at, started_at FROM _prisma_migrations ORDER BY started_at");
  const failed = rows.find((row) => !row.finished_at && !row.rolled_back_at);
  if (failed)
    throw new Refusal(`P3009\n\nmigrate found failed migrations in the target database, new migrations will not be applied. Read more about how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve\nThe \`${failed.migration_name}\` migration started at ${failed.started_at.toISOString()} failed`);
  const applied = new Set(rows.filter((row) => row.finished_at && !row.rolled_back_at).map((row) => row.migration_name));
  const pending = known.filter(({ name }) => !applied.has(name));
  for (const { name, sql } of pending) {
    console.log(`Applying migration \`${name}\``);
    const id = await record(client, name, sql, false);
    try {
      await client.query(sql);
    } catch (error) {
      const text = `Database error code: ${error.code}\n\nDatabase error:\nERROR: ${error.message}`;
      await client.query("UPDATE _prisma_migrations SET logs = $2 WHERE id = $1", [id, text]);
      throw new Refusal(`P3018\n\nA migration failed to apply. New migrations cannot be applied before the error is recovered from. Read more about how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve\n\nMigration name: ${name}\n\n${text}\n`);
    }
    await client.query("UPDATE _prisma_migrations SET finished_at = now(), applied_steps_count = 1 WHERE id = $1", [id]);
  }
  console.log(pending.length ? "\nAll migrations have been successfully applied." : "\nNo pending migrations to apply.");
  await client.end();
}

async function resolve(how, name) {
  const client = await connected();
  await client.query(LEDGER);
  const open = await client.query("SELECT id FROM _prisma_migrations WHERE migration_name = $1 AND finished_at IS NULL AND rolled_back_at IS NULL", [name]);
  if (how === "--rolled-back") {
    if (!open.rowCount) throw new Refusal(`P3012\n\nMigration \`${name}\` cannot be rolled back because it is not in a failed state.`);
    await client.query("UPDATE _prisma_migrations SET rolled_back_at = now() WHERE id = $1", [open.rows[0].id]);
  } else {
    const done = await client.query("SELECT id FROM _prisma_migrations WHERE migration_name = $1 AND finished_at IS NOT NULL AND rolled_back_at IS NULL", [name]);
    if (done.rowCount) throw new Refusal(`P3008\n\nThe migration \`${name}\` is already recorded as applied in the database.`);
    const found = migrations().find((migration) => migration.name === name);
    if (!found) throw new Refusal(`P3017\n\nThe migration ${name} could not be found.`);
    await client.query("UPDATE _prisma_migrations SET rolled_back_at = now() WHERE migration_name = $1 AND finished_at IS NULL", [name]);
    await record(client, name, found.sql, true);
  }
  console.log(`Migration ${name} marked as ${how === "--applied" ? "applied" : "rolled back"}.`);
  await client.end();
}

async function execute(file) {
  const client = await connected();
  await client.query(fs.readFileSync(file, "utf8"));
  console.log("Script executed successfully.");
  await client.end();
}

async function main([command, action, ...rest]) {
  switch (`${command ?? ""} ${action ?? ""}`.trim()) {
    case "":
    case "generate":
      return;
    case "migrate deploy":
      return deploy();
    case "migrate resolve":
      return resolve(rest[0], rest[1]);
    case "db execute":
      return execute(rest[rest.indexOf("--file") + 1]);
    default:
      throw new Refusal(`\`prisma ${[command, action].filter(Boolean).join(" ")}\` is not emulated by the sandbox`);
  }
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error) => {
    console.error(`Error: ${error.message}`);
    process.exit(1);
  },
);
