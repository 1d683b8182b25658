// Training in the page is the training of the native program.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { download, launch, open } from "./browser.mjs";
import * as images from "./images.mjs";
import * as program from "./program.mjs";
import { TINY, TrainRoom, link } from "./room.mjs";
import * as safetensors from "./safetensors.mjs";

const WITH_WEBGPU = await launch({ webgpu: true });
const WITHOUT = await launch();
after(() => Promise.all([WITH_WEBGPU.close(), WITHOUT.close()]));

/** Trains in the page to the end; asserts that every width's loss in every step is that of the native run. */
async function comparesToNative(t, browser, options, [training, steps]) {
  const { address } = await program.serve(t);
  const data = await program.folder(t);
  const files = await images.write(data, training, 20);
  const page = await open(t, browser, link(address, { ...TINY, ...options }));
  const room = new TrainRoom(page);
  await room.take(files);
  await room.button("Start").click();
  await room.state("finished", 240_000);
  const seen = await room.events();
  const { config, device } = seen.find(({ event }) => event === "started");
  const losses = (events) => events.filter(({ event }) => event === "step").map(({ losses }) => losses);
  const native = losses(await program.events(await program.pretrain(t, config, data)));
  const here = losses(seen);
  assert.equal(here.length, steps);
  assert.equal(native.length, steps);
  here.forEach((widths, step) =>
    widths.forEach((loss, width) => {
      const difference = Math.abs(loss - native[step][width]);
      assert.ok(difference < 1e-3, `step ${step + 1}, width ${width}: ${loss} here, ${native[step][width]} natively`);
    }),
  );
  assert.ok(here.at(-1).every((loss) => loss > 0), "every width has learnt");
  return { page, room, device };
}

test("twenty steps on the CPU are those of the native program", async (t) => {
  const options = { epochs: "2", slow_start: "0.25" };
  const { device } = await comparesToNative(t, WITHOUT, options, [80, 20]);
  assert.match(device, /CPU/);
});

test("three steps on WebGPU are those of the native program", async (t) => {
  const options = { epochs: "1", slow_start: "0", device: "webgpu" };
  const { device } = await comparesToNative(t, WITH_WEBGPU, options, [24, 3]);
  assert.match(device, /WebGPU/);
});

test("where WebGPU is missing, a line says so and the CPU trains", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, device: "auto", epochs: "1" }));
  const room = new TrainRoom(page);
  await room.take(await images.write(await program.folder(t), 16, 10));
  await room.button("Start").click();
  await room.state("finished");
  assert.match(await room.card.locator(".note").first().textContent(), /WebGPU/);
  const { device } = (await room.events()).find(({ event }) => event === "started");
  assert.match(device, /CPU/);
});

/** A run on the CPU that takes its time. */
async function longRun(t, options = {}) {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, epochs: "2000", evaluate_every: "2000", ...options }));
  const room = new TrainRoom(page);
  await room.take(await images.write(await program.folder(t), 16, 10));
  return { page, room };
}

test("a run pauses, takes single steps, resumes and is reset", async (t) => {
  const { room } = await longRun(t);
  await room.button("Step").click();
  await room.state("paused");
  await room.passes(0);
  assert.equal(await room.steps(), 1);
  await room.button("Step").click();
  await room.passes(1);
  assert.equal(await room.steps(), 2);
  await room.button("Resume").click();
  await room.passes(5);
  await room.button("Pause").click();
  await room.state("paused");
  await room.button("Step").click();
  const halted = new Set();
  while (halted.size === 0 || !halted.has(await room.steps())) halted.add(await room.steps());
  await room.button("Reset").click();
  await room.state("not begun");
  assert.equal(await room.card.locator(".facts").count(), 0);
});

const TECHNIQUES = {
  "Slow start": ["slow_start", 0],
  Distillation: ["distill", "none"],
  Reweighting: ["reweighting", 0],
  "Gradient surgery": ["surgery", "none"],
};

test("every technique can be switched before a run and while it goes on", async (t) => {
  const { page, room } = await longRun(t);
  const was = Object.fromEntries(Object.keys(TECHNIQUES).map((name) => [name, undefined]));
  for (const name of Object.keys(TECHNIQUES)) {
    was[name] = await page.getByRole("switch", { name }).isChecked();
    await page.getByRole("switch", { name }).click();
  }
  await room.button("Start").click();
  await room.passes(2);
  for (const name of Object.keys(TECHNIQUES)) {
    const before = await room.steps();
    await page.getByRole("switch", { name }).click();
    await room.passes(before + 2);
  }
  await page.getByLabel("Distillation: how").selectOption("dkd");
  await page.getByLabel("Learns by").selectOption("simclr");
  await page.waitForFunction(() => document.querySelector(".state")?.textContent === "training");
  await room.passes(await room.steps());
  await room.button("Pause").click();
  await room.state("paused");
  const events = await room.events();
  const [first, second] = events.filter(({ event }) => event === "started");
  const changes = events.filter(({ event }) => event === "changed");
  for (const [name, [key, off]] of Object.entries(TECHNIQUES)) {
    assert.equal(first.config[key] !== off, !was[name], `${name} before the run`);
    assert.ok(changes.some(({ config }) => (config[key] !== off) === was[name]), `${name} while it went on`);
  }
  assert.ok(changes.some(({ config }) => config.distill === "dkd"), "another distillation");
  assert.equal(second.config.method, "simclr");
  assert.ok(second.step > 0, "the new method goes on with the weights");
});

test("a batch of 0 is refused in a sentence, and another one trains", async (t) => {
  const { page, room } = await longRun(t);
  const batch = page.getByLabel("Batch");
  await batch.fill("0");
  await batch.blur();
  const problem = page.locator(`#${await batch.getAttribute("aria-describedby")}`);
  assert.match(await problem.textContent(), /batch|0/i);
  await room.button("Start").click();
  await room.state("not begun");
  await batch.fill("8");
  await batch.blur();
  assert.equal(await problem.textContent(), "");
  await room.button("Start").click();
  await room.passes(1);
});

test("files that are no images are refused in a sentence, and others train", async (t) => {
  const { room } = await longRun(t);
  const cases = {
    "cut short": [{ name: "data_batch_1.bin", mimeType: "", buffer: images.batch(2, 3).subarray(0, 5000) }],
    "no image": [{ name: "cat.png", mimeType: "image/png", buffer: Buffer.from("not a cat") }],
  };
  for (const [what, files] of Object.entries(cases)) {
    await room.take(files);
    await room.button("Start").click();
    await room.state("broken off");
    const words = await room.card.getByRole("alert").textContent();
    assert.match(words, /[.:]/, `${what}: ${words}`);
    await room.button("Reset").click();
  }
  await room.take(await images.write(await program.folder(t), 16, 10));
  await room.button("Start").click();
  await room.passes(1);
});

test("what a worker had trained outlives it", async (t) => {
  const { page, room } = await longRun(t, { checkpoint_every: "1" });
  await room.button("Start").click();
  const weights = page.getByRole("button", { name: /Weights of step/ });
  await weights.waitFor();
  const [worker] = page.workers();
  await worker.evaluate(() => setTimeout(() => { throw new Error("killed"); }));
  await room.state("broken off");
  assert.match(await room.card.getByRole("alert").textContent(), /worker has died/);
  const { name, bytes } = await download(page, weights);
  assert.match(name, /\.safetensors$/);
  const { metadata } = safetensors.read(bytes);
  assert.ok(metadata.slimclr, "a checkpoint");
  await page.getByRole("button", { name: /Continue from step/ }).click();
  await room.state("training");
  await room.passes(0);
});

test("an empty folder is told of", async (t) => {
  const { page, room } = await longRun(t);
  const folder = await program.folder(t);
  await page.getByLabel("Folder…").setInputFiles(folder);
  await page.getByLabel("Folder…").dispatchEvent("change");
  await room.alert.filter({ hasText: "no files" }).waitFor();
});
