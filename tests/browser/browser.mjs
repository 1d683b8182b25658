// Starts Chromium, with SwiftShader's WebGPU or without WebGPU.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const packages = createRequire(`${process.env.SLIMCLR_BROWSER_PACKAGES}/`);
const { chromium } = packages("playwright-core");

/** The path of axe-core's script. */
export const axe = packages.resolve("axe-core/axe.min.js");

const QUIET = [
  "--no-sandbox",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];
/** SwiftShader runs on the CPU: slow, but the same on every machine. */
const WEBGPU = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
];
const NO_WEBGPU = ["--disable-features=WebGPU", "--disable-gpu"];

/** A fake camera with a moving pattern. */
const CAMERA = ["--use-fake-device-for-media-stream"];

/** Starts a browser. */
export function launch({ webgpu = false, camera = false } = {}) {
  return chromium.launch({
    executablePath: process.env.SLIMCLR_CHROMIUM,
    args: [...QUIET, ...(webgpu ? WEBGPU : NO_WEBGPU), ...(camera ? CAMERA : [])],
  });
}

/** Opens a page in a new context and closes it after the test, which fails if the page has thrown an uncaught error. */
export async function open(test, browser, address, options = {}) {
  const context = await browser.newContext({ acceptDownloads: true, viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const thrown = [];
  page.on("pageerror", (error) => thrown.push(error.message));
  test.after(async () => {
    await context.close();
    assert.deepEqual(thrown, [], "the page has thrown errors");
  });
  await page.goto(address);
  return page;
}

/** Clicks on `control` and returns the file that it downloads. */
export async function download(page, control) {
  const [saved] = await Promise.all([page.waitForEvent("download"), control.click()]);
  const chunks = [];
  for await (const chunk of await saved.createReadStream()) chunks.push(chunk);
  return { name: saved.suggestedFilename(), bytes: Buffer.concat(chunks) };
}

/** Waits until `read` returns `expected`. */
export async function expect(read, expected, timeout = 30_000) {
  const until = Date.now() + timeout;
  let actual;
  do {
    actual = await read().catch((error) => error.message);
    if (actual === expected) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  } while (Date.now() < until);
  assert.equal(actual, expected);
}
