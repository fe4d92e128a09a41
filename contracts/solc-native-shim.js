#!/usr/bin/env node
// Gives npm's solc (WebAssembly) the command line that forge expects of a native compiler:
// `--version`, and `--standard-json` with the request on stdin. It reads no file by itself:
// forge puts every source into the request.
"use strict";
const fs = require("fs");
const path = require("path");

const home = path.join(__dirname, "..", "node_modules", "solc");
if (!fs.existsSync(home)) {
  process.stderr.write("solc is missing: run `npm ci` in the repository root\n");
  process.exit(1);
}
const solc = require(home);

if (process.argv.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
} else {
  process.stderr.write(`unsupported arguments: ${process.argv.slice(2).join(" ")}\n`);
  process.exit(2);
}
