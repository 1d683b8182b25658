// The shipped network at every width, seen by the page and by the native program.

import assert from "node:assert/strict";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";

import { download, expect, launch, open } from "./browser.mjs";
import * as images from "./images.mjs";
import * as program from "./program.mjs";
import * as safetensors from "./safetensors.mjs";

const BROWSER = await launch({ camera: true });
after(() => BROWSER.close());

const NETWORK = join(process.env.SLIMCLR_BUNDLE, "network.safetensors");

/** Opens the room and waits until the shipped network is shown with a picture. */
async function widths(t, options) {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, `${address}#widths?device=cpu`, options);
  await page.getByRole("heading", { name: /Nearest neighbours/ }).waitFor({ timeout: 90_000 });
  await expect(() => page.getByRole("button", { name: "Embeddings (JSON)" }).isEnabled(), true);
  return page;
}

const slider = (page) => page.getByRole("slider", { name: /Width/ });

/** The native program's features of the first test image in `data`, at each width of the shipped network, of unit length. */
async function nativeFeatures(place) {
  const { metadata } = safetensors.read(await readFile(NETWORK));
  const run = join(place, "run");
  await mkdir(run);
  await copyFile(NETWORK, join(run, "checkpoint.safetensors"));
  await writeFile(join(run, "config.toml"), JSON.parse(metadata.slimclr).config);
  await program.slimclr(place, "evaluate", run, "--device", "cpu", "--probe-epochs", "1");
  const { tensors } = safetensors.read(await readFile(join(run, "features.safetensors")));
  const features = [];
  for (let width = 0; tensors[`test.${width}`]; width += 1) {
    const { shape, values } = tensors[`test.${width}`];
    const first = values.subarray(0, shape[1]);
    const norm = Math.hypot(...first);
    features.push([...first].map((value) => value / norm));
  }
  return features;
}

test("an image's embedding at every width is the native program's", async (t) => {
  const place = await program.folder(t);
  // Where the network's own options say that its images are.
  const [, testBatch] = await images.write(join(place, "data/cifar10"), 20, 10);
  const image = join(place, "image.png");
  await writeFile(image, images.png(await readFile(testBatch), 0));
  const native = await nativeFeatures(place);

  const page = await widths(t);
  await page.getByRole("radio", { name: "Image file" }).check();
  await page.getByLabel(/choose an image/).setInputFiles(image);
  await page.getByText("image.png", { exact: true }).waitFor();
  const record = JSON.parse((await download(page, page.getByRole("button", { name: "Embeddings (JSON)" }))).bytes);
  assert.equal(record.widths.length, native.length);
  record.widths.forEach(({ width, feature }, at) => {
    assert.equal(feature.length, native[at].length, `width ${width}`);
    const furthest = Math.max(...feature.map((value, index) => Math.abs(value - native[at][index])));
    assert.ok(furthest < 1e-4, `width ${width}: off by ${furthest}`);
  });
});

test("the slider switches widths without loading anything", async (t) => {
  const page = await widths(t);
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  const parameters = () => page.locator(".costs strong").first().textContent();
  const full = await parameters();
  const seen = new Set([full]);
  await slider(page).focus();
  for (const width of ["0.75", "0.5", "0.25"]) {
    await page.keyboard.press("ArrowLeft");
    await expect(() => slider(page).getAttribute("aria-valuetext"), `width ${width}`);
    await page.getByRole("heading", { name: `Nearest neighbours at width ${width}` }).waitFor();
    seen.add(await parameters());
  }
  assert.equal(seen.size, 4, "each width has a cost of its own");
  assert.match(page.url(), /width=0\.25/);
  // Chromium asks for the icon again whenever the address changes.
  assert.deepEqual(requests.filter((url) => url.startsWith("http") && !url.endsWith("/icon.svg")), []);
});

test("files that are no network or no image are refused in a sentence, and the shipped network stays", async (t) => {
  const page = await widths(t);
  const whole = await readFile(NETWORK);
  const cases = [
    ["notes.safetensors", Buffer.from("not a checkpoint")],
    ["cut.safetensors", whole.subarray(0, whole.length / 2)],
    ["other.safetensors", safetensors.ofZeros("encoder_q.conv1.weight", [3, 3, 3, 3])],
    ["notes.pth.tar", Buffer.from("not a checkpoint either")],
    ["empty.safetensors", Buffer.alloc(0)],
  ];
  const alert = page.locator(".network").getByRole("alert");
  for (const [name, buffer] of cases) {
    await page.getByLabel(/choose a checkpoint/).setInputFiles({ name, mimeType: "application/octet-stream", buffer });
    await expect(async () => (await alert.textContent()).includes(name), true);
    const words = await alert.textContent();
    assert.ok(words.length > 20 && words.length < 400, `${name}: ${words}`);
    await page.getByRole("heading", { name: /Nearest neighbours/ }).waitFor();
  }
  await page.getByRole("radio", { name: "Image file" }).check();
  await page.getByLabel(/choose an image/).setInputFiles({ name: "cat.png", mimeType: "image/png", buffer: Buffer.from("no cat") });
  await page.getByRole("alert").filter({ hasText: /no intact JPEG, PNG or WebP image/ }).waitFor();
  // All goes on.
  await page.getByRole("radio", { name: "Sample" }).check();
  await page.getByRole("radio", { name: / 2$/ }).check({ force: true });
  await page.getByRole("status").filter({ hasText: /have its class/ }).waitFor();
});

test("a webcam that is refused is told of; one that is allowed is looked at", async (t) => {
  const page = await widths(t, { permissions: [] });
  await page.getByRole("radio", { name: "Webcam" }).check();
  await page.getByRole("button", { name: "Start the webcam" }).click();
  await page.getByRole("alert").filter({ hasText: /webcam/i }).waitFor();
  await page.context().grantPermissions(["camera"]);
  await page.getByRole("button", { name: "Start the webcam" }).click();
  await page.getByText("the webcam", { exact: true }).waitFor();
});

test("a drawing is looked at", async (t) => {
  const page = await widths(t);
  await page.getByRole("radio", { name: "Drawing" }).check();
  const canvas = page.locator(".drawing canvas");
  await canvas.scrollIntoViewIfNeeded();
  const { x, y } = await canvas.boundingBox();
  await page.mouse.move(x + 20, y + 20);
  await page.mouse.down();
  await page.mouse.move(x + 90, y + 70, { steps: 5 });
  await page.mouse.up();
  await page.getByText("the drawing", { exact: true }).waitFor();
});
