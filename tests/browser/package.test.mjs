// The JavaScript package in Node.js and in Chromium, beside the native program.

import assert from "node:assert/strict";
import { copyFile, cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";

import { launch, open } from "./browser.mjs";
import * as images from "./images.mjs";
import * as program from "./program.mjs";
import * as safetensors from "./safetensors.mjs";

const PACKAGE = process.env.SLIMCLR_PACKAGE;
const WIDTHS = [1, 0.5];

const FOLDER = await program.folder({ after });
const DATA = join(FOLDER, "data");
await images.write(DATA, 64, 20);
/** A classifier with `WIDTHS`, trained for a moment. */
const RUN = await program.pretrain({ after }, {
  method: "supervised",
  depth: 8,
  widths: WIDTHS,
  image_size: 16,
  batch: 16,
  bn_splits: 1,
  epochs: 2,
  knn: 5,
  learning_rate: 0.01,
}, DATA);
const CHECKPOINT = join(RUN, "checkpoint.safetensors");

/** A picture that is not resized, and one that is resized and cropped. */
const PICTURES = [picture(16, 16), picture(45, 30)];
const NATIVE = await nativeFeatures();

const { load } = await import(await installed());

/** Returns a pattern of RGB pixels. */
function picture(width, height) {
  const value = (index) => {
    const [pixel, colour] = [Math.floor(index / 3), index % 3];
    return Math.round(127.5 + 127.5 * Math.sin(((pixel % width) * (1 + colour)) / 5 + Math.floor(pixel / width) / 3));
  };
  return { data: Uint8Array.from({ length: 3 * width * height }, (_, index) => value(index)), width, height };
}

function withOpacity({ data, width, height }) {
  const rgba = Uint8ClampedArray.from({ length: 4 * width * height }, (_, index) =>
    index % 4 === 3 ? 255 : data[3 * Math.floor(index / 4) + (index % 4)],
  );
  return { data: rgba, width, height };
}

/** Returns the native program's features of the pictures, by width. */
async function nativeFeatures() {
  const folder = join(FOLDER, "pictures");
  await mkdir(folder);
  for (const [index, { data, width, height }] of PICTURES.entries()) {
    await writeFile(join(folder, `${index}.ppm`), Buffer.concat([Buffer.from(`P6 ${width} ${height} 255\n`), data]));
  }
  const out = join(FOLDER, "native.safetensors");
  await program.slimclr(FOLDER, "embed", RUN, "--data", folder, "--out", out, "--width", "all", "--device", "cpu");
  const rows = (await readFile(join(FOLDER, "native.csv"), "utf8")).trim().split("\n").slice(1);
  const order = rows.map((row) => PICTURES.findIndex((_, index) => row.includes(`${index}.ppm`)));
  const { tensors } = safetensors.read(await readFile(out));
  return WIDTHS.map((width) => {
    const { shape: [, columns], values } = tensors[`w${width}`];
    return PICTURES.map((_, index) => values.subarray(order.indexOf(index) * columns).subarray(0, columns));
  });
}

/** Installs the package as npm does; returns the address of what `import "slimclr"` imports. */
async function installed() {
  await mkdir(join(FOLDER, "node_modules"));
  await symlink(PACKAGE, join(FOLDER, "node_modules/slimclr"), "dir");
  return pathToFileURL(createRequire(join(FOLDER, "program.js")).resolve("slimclr"));
}

/** Checks one width's features of the pictures. */
function assertNative(features, at, what) {
  for (const [index, expected] of NATIVE[at].entries()) {
    assert.equal(features[index].length, expected.length, what);
    const difference = Math.max(...expected.map((value, column) => Math.abs(value - features[index][column])));
    assert.ok(difference < 1e-4, `${what}, width ${WIDTHS[at]}, picture ${index}: off by ${difference}`);
  }
}

/** Checks that a promise is rejected with one sentence that contains `part`. */
async function refused(promise, part) {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof Error && error.message.includes(part), `${error}`);
    assert.ok(error.message.length < 300 && !error.message.includes("\n"), error.message);
    return true;
  });
}

test("in Node.js, features equal the native program's at every width", async () => {
  const network = await load(await readFile(CHECKPOINT));
  assert.deepEqual([network.widths, network.imageSize, network.device], [WIDTHS, 16, "cpu"]);
  for (const [at, width] of WIDTHS.entries()) {
    assert.equal(network.dimension(width), NATIVE[at][0].length);
    const features = await network.embed(PICTURES, width);
    assertNative(features, at, "RGB");
    assert.deepEqual(await network.embed(PICTURES.map(withOpacity), width), features);
    assert.deepEqual(await network.embed(PICTURES[1], width), features[1]);
  }
  const [first, second] = await Promise.all([network.embed(PICTURES[0]), network.embed(PICTURES[1])]);
  assertNative([first, second], 0, "two at once");
  assert.deepEqual(await network.embed([]), []);
});

test("an exported width computes what it does in the whole network", async () => {
  await program.slimclr(FOLDER, "export", RUN, "--width", "0.5", "--out", join(FOLDER, "models"));
  const exported = await readFile(join(FOLDER, "models/cifar-resnet8-w0.5.safetensors"));
  const [whole, half] = await Promise.all([readFile(CHECKPOINT), exported].map(async (file) => load(await file)));
  assert.deepEqual([half.widths, half.classes], [[0.5], whole.classes]);
  assertNative(await half.embed(PICTURES), 1, "exported");
  const [expected, classes] = await Promise.all([whole, half].map((network) => network.classify(PICTURES[1], 0.5)));
  assert.equal(classes.length, whole.classes.length);
  for (const [index, { class: name, probability }] of classes.entries()) {
    assert.equal(name, expected[index].class);
    assert.ok(Math.abs(probability - expected[index].probability) < 1e-4 && (index === 0 || probability <= classes[index - 1].probability));
  }
  assert.ok(Math.abs(classes.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-4);
});

test("what cannot be used is refused in one sentence", async () => {
  const whole = await readFile(CHECKPOINT);
  await refused(load(new Uint8Array()), "the network's file cannot be used: it is empty");
  await refused(load(Buffer.from("not a network")), "it is not a network but text");
  await refused(load(whole.subarray(0, whole.length / 2)), "it was cut short at");
  await refused(load("checkpoint.safetensors"), "load takes the bytes of a network's file");
  await refused(load(whole, { device: "tpu" }), "there is no device 'tpu'");
  await refused(load(whole, { device: "webgpu" }), "there is no WebGPU here");

  const network = await load(whole);
  await refused(network.embed(PICTURES[0], 0.3), "the network has no width 0.3: choose from 1, 0.5");
  assert.throws(() => network.dimension(2), /the network has no width 2: choose from 1, 0.5/);
  await refused(network.embed({ data: new Uint8Array(), width: 0, height: 3 }), "an image needs at least one pixel");
  await refused(network.embed({ data: new Uint8Array(5), width: 1, height: 1 }), "but its data has 5 bytes");
  await refused(network.embed("cat.jpg"), "an image is an ImageData");
  await refused(network.embed([PICTURES[0], undefined]), "an image is an ImageData");
  const pending = network.embed(PICTURES[0]);
  network.dispose();
  assertNative([await pending, NATIVE[0][1]], 0, "disposed of");
  await refused(network.embed(PICTURES[0]), "the network has been disposed of");

  const encoder = await load(await readFile(join(process.env.SLIMCLR_BUNDLE, "network.safetensors")));
  assert.deepEqual([encoder.widths, encoder.classes], [[1, 0.75, 0.5, 0.25], []]);
  await refused(encoder.classify(PICTURES[0]), "the network has no classifier");
});

/** Opens a page that can import the package. */
async function openPage(t, browser) {
  const folder = await program.folder(t);
  await writeFile(join(folder, "index.html"), "<!doctype html><title>The package</title>");
  await copyFile(CHECKPOINT, join(folder, "checkpoint.safetensors"));
  await cp(PACKAGE, join(folder, "slimclr"), { recursive: true });
  const { address } = await program.serveFolder(t, folder);
  return open(t, browser, address);
}

/** Embeds pictures in the page, from each object that holds pixels: `features[object][width][picture]`. */
async function embedInPage({ device, pictures }) {
  const { load } = await import("/slimclr/index.js");
  const network = await load(await (await fetch("checkpoint.safetensors")).arrayBuffer(), { device });
  const data = pictures.map(({ data, width, height }) => new ImageData(Uint8ClampedArray.from(data), width, height));
  const canvases = data.map((image) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  });
  const elements = canvases.map((canvas) => Object.assign(new Image(), { src: canvas.toDataURL() }));
  await Promise.all(elements.map((element) => element.decode()));
  const bitmaps = await Promise.all(data.map((image) => createImageBitmap(image)));
  const features = {};
  for (const [name, images] of Object.entries({ data, canvases, elements, bitmaps })) {
    features[name] = [];
    for (const width of network.widths) {
      features[name].push((await network.embed(images, width)).map((feature) => [...feature]));
    }
  }
  const refused = [];
  for (const image of [new Image(), document.body, document.createElement("canvas").getContext("2d").createImageData(1, 1)]) {
    refused.push(await network.embed(image, 0.3).catch((error) => error.message));
  }
  const [best] = await network.classify(bitmaps[0]);
  const missing = await load(new ArrayBuffer(9), { device: "webgpu" }).catch((error) => error.message);
  return { features, refused, best, missing, device: network.device };
}

const pictures = PICTURES.map(withOpacity).map(({ data, width, height }) => ({ data: [...data], width, height }));

test("in Chromium, every kind of image has the native program's features", async (t) => {
  const browser = await launch();
  t.after(() => browser.close());
  const page = await openPage(t, browser);
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  const { features, refused, best, missing } = await page.evaluate(embedInPage, { device: "cpu", pictures });
  for (const [name, ofWidths] of Object.entries(features)) {
    ofWidths.forEach((ofPictures, at) => assertNative(ofPictures, at, name));
  }
  assert.match(refused[0], /^the image has not loaded: /);
  assert.match(refused[1], /^an image is an ImageData, /);
  assert.match(refused[2], /^the network has no width 0.3: /);
  const [expected] = await (await load(await readFile(CHECKPOINT))).classify(PICTURES[0]);
  assert.equal(best.class, expected.class);
  assert.ok(Math.abs(best.probability - expected.probability) < 1e-4);
  assert.match(missing, /^there is no WebGPU here: /);
  assert.ok(requests.some((url) => url.endsWith("cpu_bg.wasm")) && !requests.some((url) => url.includes("webgpu")));
});

test("on WebGPU, features equal the native program's", async (t) => {
  const browser = await launch({ webgpu: true });
  t.after(() => browser.close());
  const page = await openPage(t, browser);
  const { features, missing, device } = await page.evaluate(embedInPage, { device: "webgpu", pictures });
  assert.equal(device, "webgpu");
  for (const [name, ofWidths] of Object.entries(features)) {
    ofWidths.forEach((ofPictures, at) => assertNative(ofPictures, at, name));
  }
  assert.match(missing, /^the network's file cannot be used: /);
});
