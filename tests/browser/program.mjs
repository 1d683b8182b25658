// The native program: what the page is compared with, and what serves it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const PROGRAM = process.env.SLIMCLR_PROGRAM;

/** A folder that is removed after the test. */
export async function folder(test) {
  const path = await mkdtemp(join(tmpdir(), "slimclr-browser-"));
  test.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Runs the program in a folder to its end. */
export async function slimclr(cwd, ...words) {
  const child = spawn(PROGRAM, words, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (words) => (said += words));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`slimclr ${words.join(" ")} ended with ${code}:\n${said}`);
  return said;
}

/** Serves the page, and a run if one is named; returns the address. It ends with the test, or before by `stop`. */
export async function serve(test, ...run) {
  const words = ["serve", "--address", "127.0.0.1:0", "--bundle", process.env.SLIMCLR_BUNDLE, ...run];
  const child = spawn(PROGRAM, words, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close");
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  test.after(stop);
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith("http://")) return { address: line.trim(), stop };
  }
  throw new Error("slimclr serve names no address");
}

/** Trains natively on the CPU with the options that the page has written into its events; returns the run's folder. */
export async function pretrain(test, config, data) {
  const { run, done } = await startPretraining(await folder(test), { ...config, data });
  await done;
  return run;
}

/** Begins to train natively on the CPU, in a folder inside `place`; returns it as soon as it is there, and the end. */
export async function startPretraining(place, config) {
  const options = join(place, "options.toml");
  // Numbers, strings and lists of numbers are the same in JSON and in TOML.
  const lines = Object.entries({ ...config, device: "cpu" }).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  await writeFile(options, lines.join("\n"));
  const run = join(place, "run");
  const done = slimclr(place, "pretrain", "--config", options, "--out", run);
  while (!existsSync(join(run, "events.jsonl"))) {
    await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 50))]);
  }
  return { run, done };
}

/** The events of a run. */
export async function events(run) {
  return lines(await readFile(join(run, "events.jsonl"), "utf8"));
}

/** The JSON values of a text with one in each line. */
export function lines(text) {
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}
