// The native program: serves the page, and is the reference for its results.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const PROGRAM = process.env.SLIMCLR_PROGRAM;

/** Creates a folder that is removed after the test. */
export async function folder(test) {
  const path = await mkdtemp(join(tmpdir(), "slimclr-browser-"));
  test.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Runs the program in a folder until it exits; returns its output. */
export async function slimclr(cwd, ...args) {
  const child = spawn(PROGRAM, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`slimclr ${args.join(" ")} exited with ${code}:\n${output}`);
  return output;
}

/** Serves the page, and a run if one is given; returns the address. Stops after the test, or earlier by `stop`. */
export function serve(test, ...run) {
  return serveFolder(test, process.env.SLIMCLR_BUNDLE, ...run);
}

/** Serves the page in a folder, as `serve` does. */
export async function serveFolder(test, folder, ...run) {
  const args = ["serve", "--address", "127.0.0.1:0", "--bundle", folder, ...run];
  const child = spawn(PROGRAM, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close");
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  test.after(stop);
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith("http://")) return { address: line.trim(), stop };
  }
  throw new Error("slimclr serve prints no address");
}

/** Trains natively on the CPU with the options from the page's events; returns the run's folder. */
export async function pretrain(test, config, data) {
  const { run, done } = await startPretraining(await folder(test), { ...config, data });
  await done;
  return run;
}

/** Starts native training on the CPU; returns the run's folder in `parent` once it exists, and a promise of the end. */
export async function startPretraining(parent, config) {
  const options = join(parent, "options.toml");
  // Numbers, strings and arrays of numbers have the same syntax in JSON and TOML.
  const lines = Object.entries({ ...config, device: "cpu" }).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  await writeFile(options, lines.join("\n"));
  const run = join(parent, "run");
  const done = slimclr(parent, "pretrain", "--config", options, "--out", run);
  while (!existsSync(join(run, "events.jsonl"))) {
    await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
  return { run, done };
}

/** Reads the events of a run. */
export async function events(run) {
  return lines(await readFile(join(run, "events.jsonl"), "utf8"));
}

/** Parses a text with one JSON value per line. */
export function lines(text) {
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}
