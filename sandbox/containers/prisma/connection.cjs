// A database's URL as Prisma reads it, for node-postgres, which has other names for TLS.
//
// Of `sslmode` Prisma knows disable, prefer and require, and takes any other word, verify-full included, for prefer; unless
// `sslaccept` is strict it believes any certificate; `sslcert` is the authority's, of which it reads the first
// (prisma-engines, quaint/src/connector/postgres). Stricter here: prefer is plain text alone, and with `sslcert` the
// authorities of the system count no more. Client certificates (sslidentity) are refused.
"use strict";

const fs = require("node:fs");
const tls = require("node:tls");

exports.connection = (text) => {
  const url = new URL(text ?? "");
  const [mode, accept, file] = ["sslmode", "sslaccept", "sslcert"].map((name) => {
    const value = url.searchParams.get(name);
    url.searchParams.delete(name);
    return value;
  });
  if (url.searchParams.has("sslidentity")) throw new Error("sslidentity is not emulated by the sandbox");
  if (mode !== "require") return { connectionString: url.href, ssl: false };
  const [ca] = file ? fs.readFileSync(file, "utf8").match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/) : [];
  const ssl = {
    rejectUnauthorized: accept !== null && accept !== "accept_invalid_certs",
    ca,
    checkServerIdentity: (_, certificate) => tls.checkServerIdentity(url.hostname, certificate),
  };
  return { connectionString: url.href, ssl };
};

/** Whether a connection failed because the server has no TLS, or not the certificate that was expected. */
exports.untrusted = (error) =>
  /CERT|SIGNATURE|ERR_TLS/.test(error.code ?? "") || /does not support SSL/.test(error.message);
