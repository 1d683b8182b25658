// The built-in network at every width, in the page and in the native program.

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

/** Opens the page and waits until the built-in network has embedded a picture. */
async function openWidths(t, options) {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, `${address}#widths?device=cpu`, options);
  await page.getByRole("heading", { name: /Nearest neighbours/ }).waitFor({ timeout: 90_000 });
  await expect(() => page.getByRole("button", { name: "Embeddings (JSON)" }).isEnabled(), true);
  return page;
}

const slider = (page) => page.getByRole("slider", { name: /Width/ });

/** Returns the native program's unit feature vectors of the first test image in `folder`, at each width. */
async function nativeFeatures(folder) {
  const { metadata } = safetensors.read(await readFile(NETWORK));
  const run = join(folder, "run");
  await mkdir(run);
  await copyFile(NETWORK, join(run, "checkpoint.safetensors"));
  await writeFile(join(run, "config.toml"), JSON.parse(metadata.slimclr).config);
  await program.slimclr(folder, "evaluate", run, "--device", "cpu", "--probe-epochs", "1");
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

test("an image's embedding at every width equals the native program's", async (t) => {
  const folder = await program.folder(t);
  // The path of the images in the network's options.
  const [, testBatch] = await images.write(join(folder, "data/cifar10"), 20, 10);
  const image = join(folder, "image.png");
  await writeFile(image, images.png(await readFile(testBatch), 0));
  const native = await nativeFeatures(folder);

  const page = await openWidths(t);
  await page.getByRole("radio", { name: "Image file" }).check();
  await page.getByLabel(/choose an image/).setInputFiles(image);
  await page.getByText("image.png", { exact: true }).waitFor();
  const exported = JSON.parse((await download(page, page.getByRole("button", { name: "Embeddings (JSON)" }))).bytes);
  assert.equal(exported.widths.length, native.length);
  exported.widths.forEach(({ width, feature }, at) => {
    assert.equal(feature.length, native[at].length, `width ${width}`);
    const difference = Math.max(...feature.map((value, index) => Math.abs(value - native[at][index])));
    assert.ok(difference < 1e-4, `width ${width}: off by ${difference}`);
  });
});

test("the slider switches widths without any request", async (t) => {
  const page = await openWidths(t);
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  const parameters = () => page.locator(".costs strong").first().textContent();
  const costs = new Set([await parameters()]);
  await slider(page).focus();
  for (const width of ["0.75", "0.5", "0.25"]) {
    await page.keyboard.press("ArrowLeft");
    await expect(() => slider(page).getAttribute("aria-valuetext"), `width ${width}`);
    await page.getByRole("heading", { name: `Nearest neighbours at width ${width}` }).waitFor();
    costs.add(await parameters());
  }
  assert.equal(costs.size, 4, "each width has a different cost");
  assert.match(page.url(), /width=0\.25/);
  // Chromium requests the icon again whenever the address changes.
  assert.deepEqual(requests.filter((url) => url.startsWith("http") && !url.endsWith("/icon.svg")), []);
});

test("each width's accuracy is measured, and the class of its neighbours counted", async (t) => {
  const page = await openWidths(t);
  const rows = await page.locator(".all-widths tbody tr").allTextContents();
  assert.equal(rows.length, 4);
  const cells = (column) => page.locator(`.all-widths tbody td:nth-child(${column})`).allTextContents();
  const accuracies = (await cells(5)).map((text) => Number(text.match(/^(\d+) %$/)[1]));
  accuracies.forEach((accuracy) => assert.ok(accuracy > 15 && accuracy < 90, `${accuracies}: ten classes, trained`));
  assert.equal(await page.locator(".costs div").last().locator("strong").textContent(), `${accuracies[0]} %`);
  const ticks = await page.locator(".neighbours .tick").count();
  const [same, narrow] = [(await cells(6))[0], (await cells(6)).at(-1)];
  assert.equal(same, `${ticks} of 12`);
  await slider(page).fill("0");
  await page.getByText(`${narrow} neighbours have its class`).waitFor();
  await page.getByText(`At full width, ${ticks} have.`).waitFor();
});

test("files that are not a network or an image are rejected with a message, and the network stays", async (t) => {
  const page = await openWidths(t);
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
    await page.getByLabel(/choose a network/).setInputFiles({ name, mimeType: "application/octet-stream", buffer });
    await expect(async () => (await alert.textContent()).includes(name), true);
    const message = await alert.textContent();
    assert.ok(message.length > 20 && message.length < 400, `${name}: ${message}`);
    await page.getByRole("heading", { name: /Nearest neighbours/ }).waitFor();
  }
  await page.getByRole("radio", { name: "Image file" }).check();
  await page.getByLabel(/choose an image/).setInputFiles({ name: "cat.png", mimeType: "image/png", buffer: Buffer.from("not a cat") });
  await page.getByRole("alert").filter({ hasText: /JPEG, PNG, WebP, GIF, BMP or PNM/ }).waitFor();
  // Everything still works.
  await page.getByRole("radio", { name: "Sample" }).check();
  await page.getByRole("radio", { name: / 2$/ }).check({ force: true });
  await page.getByRole("status").filter({ hasText: /have its class/ }).waitFor();
});

test("a denied webcam is reported, an allowed one is embedded", async (t) => {
  const page = await openWidths(t, { permissions: [] });
  await page.getByRole("radio", { name: "Webcam" }).check();
  await page.getByRole("button", { name: "Start the webcam" }).click();
  await page.getByRole("alert").filter({ hasText: /webcam/i }).waitFor();
  await page.context().grantPermissions(["camera"]);
  await page.getByRole("button", { name: "Start the webcam" }).click();
  await page.getByText("the webcam", { exact: true }).waitFor();
});

test("a drawing is embedded", async (t) => {
  const page = await openWidths(t);
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

test("neighbours are found among the user's own images, which need no labels", async (t) => {
  const page = await openWidths(t);
  assert.equal(await page.locator(".neighbours li .class").count(), 12);
  const own = await program.folder(t);
  await images.writeUnlabelled(own, 40);
  await page.getByLabel("Your images…").setInputFiles(own);
  await page.getByText("40 of your files").waitFor();
  const counts = () => Promise.all([".class", "img"].map((part) => page.locator(`.neighbours li ${part}`).count()));
  // While the images are embedded, the list is empty.
  await expect(async () => (await counts()).join(), "0,12", 60_000);
  assert.equal(await page.locator(".all-widths tbody td:nth-child(5)").first().textContent(), "", "no accuracy without labels");
  assert.ok((await page.locator(".map .image").count()) > 12, "the map shows them");
  const exported = JSON.parse((await download(page, page.getByRole("button", { name: "Embeddings (JSON)" }))).bytes);
  assert.deepEqual(Object.keys(exported.widths[0].neighbours[0]), ["image", "cosine"]);
  await page.getByRole("button", { name: "Use this page’s" }).click();
  await expect(() => page.locator(".neighbours li .class").count(), 12, 60_000);
});
