// Runs of the native program in the page: recorded, and live from the server.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";

import { expect, launch, open } from "./browser.mjs";
import * as images from "./images.mjs";
import * as program from "./program.mjs";

const BROWSER = await launch();
after(() => BROWSER.close());

const CONFIG = {
  depth: 8,
  multiplier: 0.25,
  widths: [1, 0.5],
  batch: 8,
  queue: 64,
  dim: 32,
  bn_splits: 1,
  knn: 5,
  epochs: 5,
  evaluate_every: 2,
  interference: true,
};

async function nativeRun(t, options = {}) {
  const data = await program.folder(t);
  await images.write(data, 64, 20);
  return program.pretrain(t, { ...CONFIG, ...options }, data);
}

test("a recorded run is replayed and scrubbed", async (t) => {
  const run = await nativeRun(t);
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address);
  await page.getByLabel("Open events.jsonl…").setInputFiles(join(run, "events.jsonl"));
  const recording = page.getByRole("group", { name: "Recording" });
  const slider = recording.getByRole("slider");
  await expect(() => slider.getAttribute("aria-valuetext"), "step 40 of 40");
  await page.getByRole("heading", { name: /figure 3/i }).or(page.locator(".figure h2").first()).first().waitFor();
  const figures = () => page.locator(".figures").innerHTML();
  const atEnd = await figures();
  await slider.fill("8");
  await expect(() => slider.getAttribute("aria-valuetext"), "step 8 of 40");
  assert.match(await page.locator(".card .facts").first().textContent(), /step 8 of 40/);
  await expect(async () => (await figures()) !== atEnd, true);
  await recording.getByRole("button", { name: "Play" }).click();
  await expect(() => slider.getAttribute("aria-valuetext").then((text) => text !== "step 8 of 40"), true);
  await recording.getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: "Start", exact: true }).waitFor();
});

test("a file that is not a recording is rejected with a message", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address);
  const file = join(await program.folder(t), "events.jsonl");
  await writeFile(file, "these are\nnot events\n");
  await page.getByLabel("Open events.jsonl…").setInputFiles(file);
  await page.getByRole("alert").filter({ hasText: "contains no events" }).waitFor();
  await page.getByRole("button", { name: "Start", exact: true }).waitFor();
});

test("a recording with damaged lines is replayed without them", async (t) => {
  const run = await nativeRun(t, { epochs: 1 });
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address);
  const file = join(await program.folder(t), "events.jsonl");
  const events = await readFile(join(run, "events.jsonl"), "utf8");
  await writeFile(file, `${events}{"event":"st`);
  await page.getByLabel("Open events.jsonl…").setInputFiles(file);
  await expect(() => page.getByRole("slider").first().getAttribute("aria-valuetext"), "step 8 of 8");
  await page.getByRole("alert").filter({ hasText: "skipped 1 line" }).waitFor();
});

test("a collapse is shown as the program says it", async (t) => {
  const run = await nativeRun(t, { epochs: 1 });
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address);
  const file = join(await program.folder(t), "events.jsonl");
  const collapsed = { event: "collapsed", step: 8, sign: "rank", width: 1, rankme: 1.2 };
  await writeFile(file, `${await readFile(join(run, "events.jsonl"), "utf8")}${JSON.stringify(collapsed)}\n`);
  await page.getByLabel("Open events.jsonl…").setInputFiles(file);
  const warning = page.getByRole("alert").filter({ hasText: "Warning: the features of width 1 have an effective rank (RankMe) of 1.2" });
  await warning.waitFor();
  await page.getByRole("group", { name: "Recording" }).getByRole("slider").fill("4");
  await warning.waitFor({ state: "detached" });
});

test("slimclr serve streams a native run into the page", async (t) => {
  const data = await program.folder(t);
  await images.write(data, 64, 20);
  const { run, done } = await program.startPretraining(await program.folder(t), { ...CONFIG, epochs: 100, data });
  const { address } = await program.serve(t, run);
  const page = await open(t, BROWSER, address);
  const live = page.getByRole("group", { name: "Live from the server" });
  const step = async () => Number((await live.getByRole("slider").getAttribute("aria-valuetext")).match(/step (\d+) of/)[1]);
  await expect(async () => (await step()) > 0, true, 60_000);
  const before = await step();
  await expect(async () => (await step()) > before, true, 60_000);
  await done;
  await expect(step, 800, 60_000);
});
