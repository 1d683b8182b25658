// Training in the page: equal to the native program's, and its controls and error messages.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";

import { download, expect, launch, open } from "./browser.mjs";
import * as images from "./images.mjs";
import * as program from "./program.mjs";
import { TINY, TrainPage, link } from "./train-page.mjs";
import * as safetensors from "./safetensors.mjs";

const WITH_WEBGPU = await launch({ webgpu: true });
const WITHOUT = await launch();
after(() => Promise.all([WITH_WEBGPU.close(), WITHOUT.close()]));

/** Trains in the page to the end; asserts that the loss of every width in every step equals the native run's. */
async function assertEqualsNative(t, browser, options, [count, steps]) {
  const { address } = await program.serve(t);
  const data = await program.folder(t);
  const files = await images.write(data, count, 20);
  const page = await open(t, browser, link(address, { ...TINY, ...options }));
  const train = new TrainPage(page);
  await train.chooseFiles(files);
  await train.button("Start").click();
  await train.waitForState("finished", 240_000);
  const events = await train.events();
  const { config, device } = events.find(({ event }) => event === "started");
  const lossesOf = (events) => events.filter(({ event }) => event === "step").map(({ losses }) => losses);
  const teacher = config.teacher && join(process.env.SLIMCLR_BUNDLE, config.teacher);
  const ofNative = await program.events(await program.pretrain(t, { ...config, teacher }, data));
  const cosines = (events) =>
    events.filter(({ event }) => event === "evaluated").flatMap((at) => [at.cosine_same_image, at.cosine_different_images]);
  assert.ok(cosines(ofNative).length > 0, "views are compared");
  cosines(ofNative).forEach((cosine, at) => {
    const found = cosines(events)[at];
    assert.ok(Math.abs(found - cosine) < 1e-3, `mean cosine ${at}: ${found} in the page, ${cosine} natively`);
  });
  const native = lossesOf(ofNative);
  const inPage = lossesOf(events);
  assert.equal(inPage.length, steps);
  assert.equal(native.length, steps);
  inPage.forEach((widths, step) =>
    widths.forEach((loss, width) => {
      const difference = Math.abs(loss - native[step][width]);
      assert.ok(difference < 1e-3, `step ${step + 1}, width ${width}: ${loss} in the page, ${native[step][width]} natively`);
    }),
  );
  assert.ok(inPage.at(-1).every((loss) => loss > 0), "every width has trained");
  return device;
}

test("20 steps on the CPU equal the native program's", async (t) => {
  const options = { epochs: "2", slow_start: "0.25" };
  const device = await assertEqualsNative(t, WITHOUT, options, [80, 20]);
  assert.match(device, /CPU/);
});

for (const method of ["seed", "disco"]) {
  test(`the page's trained network teaches a smaller one by ${method} as natively`, async (t) => {
    await assertEqualsNative(t, WITHOUT, { method, dim: "128", hidden: "64", epochs: "1" }, [48, 6]);
  });
}

test("3 steps on WebGPU equal the native program's", async (t) => {
  const options = { epochs: "1", slow_start: "0", device: "webgpu" };
  const device = await assertEqualsNative(t, WITH_WEBGPU, options, [24, 3]);
  assert.match(device, /WebGPU/);
});

test("without WebGPU, a note says so and the CPU trains", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, device: "auto", epochs: "1" }));
  const train = new TrainPage(page);
  await train.chooseFiles(await images.write(await program.folder(t), 16, 10));
  await train.button("Start").click();
  await train.waitForState("finished");
  assert.match(await train.card.locator(".note").first().textContent(), /WebGPU/);
  const { device } = (await train.events()).find(({ event }) => event === "started");
  assert.match(device, /CPU/);
});

/** Opens the page with a long run on the CPU, not started yet. */
async function longRun(t, options = {}) {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, epochs: "2000", evaluate_every: "2000", ...options }));
  const train = new TrainPage(page);
  await train.chooseFiles(await images.write(await program.folder(t), 16, 10));
  return { page, train };
}

test("a run pauses, single-steps, resumes and resets", async (t) => {
  const { train } = await longRun(t);
  await train.button("Step").click();
  await train.waitForState("paused");
  await train.waitForStepAfter(0);
  assert.equal(await train.steps(), 1);
  await train.button("Step").click();
  await train.waitForStepAfter(1);
  assert.equal(await train.steps(), 2);
  await train.button("Resume").click();
  await train.waitForStepAfter(5);
  await train.button("Pause").click();
  await train.waitForState("paused");
  await train.button("Step").click();
  const counts = new Set();
  while (!counts.has(await train.steps())) counts.add(await train.steps());
  await train.button("Reset").click();
  await train.waitForState("not started");
  assert.equal(await train.card.locator(".facts").count(), 0);
});

const TECHNIQUES = {
  "Slow start": ["slow_start", 0],
  Distillation: ["distill", "none"],
  Reweighting: ["reweighting", 0],
  "Gradient surgery": ["surgery", "none"],
};

test("every technique can be switched before and during a run", async (t) => {
  const { page, train } = await longRun(t);
  const wasOn = {};
  for (const name of Object.keys(TECHNIQUES)) {
    wasOn[name] = await page.getByRole("switch", { name }).isChecked();
    await page.getByRole("switch", { name }).click();
  }
  await train.button("Start").click();
  await train.waitForStepAfter(2);
  for (const name of Object.keys(TECHNIQUES)) {
    const before = await train.steps();
    await page.getByRole("switch", { name }).click();
    await train.waitForStepAfter(before + 2);
  }
  await page.getByLabel("Distillation variant").selectOption("dkd");
  await page.getByLabel("Method", { exact: true }).selectOption("simclr");
  await page.waitForFunction(() => document.querySelector(".state")?.textContent === "training");
  await train.waitForStepAfter(await train.steps());
  await train.button("Pause").click();
  await train.waitForState("paused");
  const events = await train.events();
  const [first, second] = events.filter(({ event }) => event === "started");
  const changes = events.filter(({ event }) => event === "changed");
  for (const [name, [key, off]] of Object.entries(TECHNIQUES)) {
    assert.equal(first.config[key] !== off, !wasOn[name], `${name} before the run`);
    assert.ok(changes.some(({ config }) => (config[key] !== off) === wasOn[name]), `${name} during the run`);
  }
  assert.ok(changes.some(({ config }) => config.distill === "dkd"), "distillation variant");
  assert.equal(second.config.method, "simclr");
  assert.ok(second.step > 0, "the new method starts from the weights");
});

test("a second run, set up by one click, does nothing against interference", async (t) => {
  const { page, train } = await longRun(t, { epochs: "1", slow_start: "0.25" });
  await train.button("Compare with a second run").click();
  const second = page.getByRole("article", { name: "B: nothing against interference" });
  await second.waitFor();
  for (const name of Object.keys(TECHNIQUES)) assert.equal(await page.getByRole("switch", { name }).isChecked(), false);
  const options = new URLSearchParams(new URL(page.url()).hash.split("?")[1]);
  assert.deepEqual(["slow_start", "distill", "reweighting"].map((key) => options.get(`b.${key}`)), ["0", "none", "0"]);
  await train.button("Start").click();
  await expect(() => second.locator(".state").textContent(), "finished", 60_000);
  const { bytes } = await download(page, second.getByRole("button", { name: "Events" }));
  const { config } = program.lines(bytes.toString()).find(({ event }) => event === "started");
  for (const [key, off] of Object.values(TECHNIQUES)) assert.equal(config[key], off, key);
  // The other way round: a run that does nothing is compared with one that has the techniques.
  await train.button("Remove run B").click();
  await train.button("Reset").click();
  for (const name of Object.keys(TECHNIQUES)) await page.getByRole("switch", { name }).uncheck();
  await train.button("Compare with a second run").click();
  await page.getByRole("article", { name: "A: nothing against interference" }).waitFor();
  assert.equal(await page.getByRole("switch", { name: "Distillation" }).isChecked(), true);
});

test("a batch size of 0 is rejected with a message, and a valid one trains", async (t) => {
  const { page, train } = await longRun(t);
  const batch = page.getByLabel("Batch size");
  await batch.fill("0");
  await batch.blur();
  const problem = page.locator(`#${await batch.getAttribute("aria-describedby")}`);
  assert.match(await problem.textContent(), /batch|0/i);
  await train.button("Start").click();
  await train.waitForState("not started");
  await batch.fill("8");
  await batch.blur();
  assert.equal(await problem.textContent(), "");
  await train.button("Start").click();
  await train.waitForStepAfter(1);
});

test("files that are not images are rejected with a message, and others train", async (t) => {
  const { train } = await longRun(t);
  const cases = {
    "truncated": [{ name: "data_batch_1.bin", mimeType: "", buffer: images.batch(2, 3).subarray(0, 5000) }],
    "not an image": [{ name: "cat.png", mimeType: "image/png", buffer: Buffer.from("not a cat") }],
  };
  for (const [what, files] of Object.entries(cases)) {
    await train.chooseFiles(files);
    await train.button("Start").click();
    await train.waitForState("failed");
    const message = await train.card.getByRole("alert").textContent();
    assert.match(message, /[.:]/, `${what}: ${message}`);
    await train.button("Reset").click();
  }
  await train.chooseFiles(await images.write(await program.folder(t), 16, 10));
  await train.button("Start").click();
  await train.waitForStepAfter(1);
});

test("a checkpoint outlives its worker", async (t) => {
  const { page, train } = await longRun(t, { checkpoint_every: "1" });
  await train.button("Start").click();
  const weights = page.getByRole("button", { name: /Weights of step/ });
  await weights.waitFor();
  const [worker] = page.workers();
  await worker.evaluate(() => setTimeout(() => { throw new Error("killed"); }));
  await train.waitForState("failed");
  assert.match(await train.card.getByRole("alert").textContent(), /worker has crashed/);
  const { name, bytes } = await download(page, weights);
  assert.match(name, /\.safetensors$/);
  const { metadata } = safetensors.read(bytes);
  assert.ok(metadata.slimclr, "a checkpoint");
  await page.getByRole("button", { name: /Continue from step/ }).click();
  await train.waitForState("training");
  await train.waitForStepAfter(0);
});

test("an empty folder is reported", async (t) => {
  const { page, train } = await longRun(t);
  // Choosing an empty folder leaves the input without files. `setInputFiles` never returns for one in newer Chromiums.
  await page.getByLabel("Folder…").dispatchEvent("change");
  await train.alert.filter({ hasText: "no files" }).waitFor();
});

test("images without labels have measures that need none, and no accuracy", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, epochs: "1" }));
  const train = new TrainPage(page);
  await train.chooseFiles(await images.writeUnlabelled(await program.folder(t), 40));
  await train.button("Start").click();
  await train.waitForState("finished", 120_000);
  await train.card.getByText("No kNN accuracy: the images have no labels.").waitFor();
  assert.match(await train.card.locator("tbody tr").first().textContent(), /-?\d\.\d\d \/ -?\d\.\d\d/);
  const evaluated = (await train.events()).filter(({ event }) => event === "evaluated");
  assert.equal(evaluated.length, 4, "two widths, before and after training");
  for (const { knn, no_accuracy, rankme, uniformity } of evaluated) {
    assert.deepEqual([knn, no_accuracy], [undefined, "no_labels"]);
    assert.ok(rankme >= 1 && uniformity <= 0);
  }
  // Another method needs labels.
  await train.button("Reset").click();
  await page.getByLabel("Method", { exact: true }).selectOption("supervised");
  await train.button("Start").click();
  await page.getByText(/needs labels, but the images have none/).first().waitFor();
});

test("damaged images are named, and others take their place", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, epochs: "1" }));
  const train = new TrainPage(page);
  const files = await images.writeUnlabelled(await program.folder(t), 40);
  const cutShort = async (path) => {
    const file = await readFile(path);
    await writeFile(path, file.subarray(0, 0.9 * file.length));
  };
  await Promise.all(files.slice(2, 4).map(cutShort));
  await train.chooseFiles(files);
  await train.button("Start").click();
  await train.waitForState("finished", 120_000);
  await train.card.getByText(/^2 images are damaged and were left out: 00[23]\.png: .*; 00[23]\.png: /).waitFor();
  // More than one in ten.
  await Promise.all(files.slice(4, 8).map(cutShort));
  await train.chooseFiles(files);
  await train.button("Start again").click();
  await train.waitForState("failed", 120_000);
  assert.match(await train.card.getByRole("alert").textContent(), /5 of 40 images are damaged: replace these files/);
});

test("an evaluation shows its progress", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, WITHOUT, link(address, { ...TINY, epochs: "1" }));
  const train = new TrainPage(page);
  await train.chooseFiles(await images.write(await program.folder(t), 1500, 500));
  const isShown = train.card.getByLabel("evaluating the initial network…").waitFor();
  await train.button("Start").click();
  await isShown;
});
