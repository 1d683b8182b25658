// The page as a whole: offline use, keyboard, accessibility, small screens, dark mode.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";

import { axe, expect, launch, open } from "./browser.mjs";
import * as images from "./images.mjs";
import * as program from "./program.mjs";
import { TINY, TrainPage, link } from "./train-page.mjs";

const BROWSER = await launch();
after(() => BROWSER.close());

const PICTURES = process.env.SLIMCLR_PICTURES;
await mkdir(PICTURES, { recursive: true });

const ROUTES = ["train", "widths", "lesson"];
const STEPS = 8;
const READY = {
  train: (page) => page.getByRole("button", { name: "Start", exact: true }).waitFor(),
  widths: (page) => page.getByRole("heading", { name: /Nearest neighbours/ }).waitFor({ timeout: 90_000 }),
  lesson: (page) => page.getByRole("navigation", { name: "Steps of the lesson" }).waitFor(),
};

/** Returns the slider over the recorded training that the page opens with. */
const recorded = (page) => page.getByRole("group", { name: "A recorded training" }).getByRole("slider");

test("the page opens with a recorded training, and Start replaces it by one's own", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, link(address, { ...TINY, epochs: "100" }));
  const first = await recorded(page).getAttribute("aria-valuetext");
  await expect(async () => (await recorded(page).getAttribute("aria-valuetext")) !== first, true, 5_000);
  assert.equal(await page.locator(".pairs image").count(), 18, "six pictures with two views each");
  assert.equal(await page.locator(".network .arrow").count(), 20, "a gradient of four widths in five stages");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await recorded(page).waitFor({ state: "detached" });
  const train = new TrainPage(page);
  await train.waitForStepAfter(0);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Pause", "the button keeps the focus");
});

test("where less motion is preferred, the recorded training does not play by itself", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address, { reducedMotion: "reduce" });
  await expect(() => recorded(page).getAttribute("aria-valuetext"), "step 950 of 950");
  await page.getByRole("button", { name: "Play", exact: true }).waitFor();
});

test("once loaded, the page works offline", async (t) => {
  const { address, stop } = await program.serve(t);
  const page = await open(t, BROWSER, `${address}#widths?device=cpu`);
  await READY.widths(page);
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await expect(
    () =>
      page.evaluate(async () => {
        const { files } = await (await fetch("files.json")).json();
        const cached = await Promise.all(files.map(({ path }) => caches.match(path === "index.html" ? "./" : path)));
        return files.filter((_, at) => !cached[at]).map(({ path }) => path).filter((path) => path !== "sw.js").join(" ");
      }),
    "",
    60_000,
  );
  await page.context().setOffline(true);
  await stop();
  await page.reload();
  await READY.widths(page);
  await page.goto(link(address, { ...TINY, epochs: "1" }));
  const train = new TrainPage(page);
  await train.chooseFiles(await images.write(await program.folder(t), 16, 10));
  await train.button("Start").click();
  await train.waitForState("finished");
});

test("a run starts, pauses and steps by keyboard alone", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, link(address, { ...TINY, epochs: "2000" }));
  const train = new TrainPage(page);
  await train.chooseFiles(await images.write(await program.folder(t), 16, 10));
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());
  const names = [];
  while (!names.includes("Start")) {
    await page.keyboard.press("Tab");
    names.push(await focused());
    assert.ok(names.length < 100, `Tab does not reach Start: ${names.join(", ")}`);
  }
  await page.keyboard.press("Enter");
  await train.waitForStepAfter(1);
  await page.keyboard.press("Enter");
  await train.waitForState("paused");
  // The shortcuts work while no control has the focus.
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Space");
  await train.waitForState("training");
  await page.keyboard.press("Space");
  await train.waitForState("paused");
  await page.waitForTimeout(500);
  const before = await train.steps();
  await page.keyboard.press(".");
  await train.waitForStepAfter(before);
  assert.equal(await train.steps(), before + 1);
});

test("the address stores and restores the options", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address);
  await page.getByLabel("Batch size").fill("16");
  await page.getByLabel("Batch size").blur();
  await page.getByRole("switch", { name: "Distillation" }).uncheck();
  await expect(async () => /batch=16/.test(page.url()) && /distill=none/.test(page.url()), true);
  const other = await open(t, BROWSER, page.url());
  await expect(() => other.getByLabel("Batch size").inputValue(), "16");
  assert.equal(await other.getByRole("switch", { name: "Distillation" }).isChecked(), false);
});

test("every step of the lesson has a question", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, `${address}#lesson`);
  const titles = new Set();
  for (let step = 1; step <= STEPS; step += 1) {
    const heading = page.locator(".lesson h1[tabindex]:visible");
    await expect(async () => (await heading.textContent()).startsWith(`${step} of ${STEPS}`), true);
    titles.add(await heading.textContent());
    assert.ok((await page.locator(".lesson .task .question:visible").textContent()).length > 20);
    if (step < STEPS) await page.getByRole("button", { name: "Next →" }).click();
  }
  assert.equal(titles.size, STEPS);
  assert.ok((await page.locator(".lesson math").count()) > 3, "formulas");
});

test("a step of the lesson sets up a run, which answers its question", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, `${address}#lesson?step=4`);
  const own = page.getByRole("region", { name: "Your own run" });
  await own.getByRole("button", { name: "Only 1 and 0.25" }).click();
  await own.getByRole("button", { name: "Start", exact: true }).click();
  await expect(async () => /Measured \d+ times/.test(await own.locator(".answer").textContent()), true, 120_000);
  assert.equal(await own.locator(".numbers tbody tr").count(), 2, "two widths");
  await own.getByRole("button", { name: "Four widths" }).click();
  await expect(() => own.locator(".state").textContent(), "not started");
  assert.equal(await own.locator(".answer").textContent(), "");
});

for (const route of ROUTES) {
  for (const colorScheme of ["light", "dark"]) {
    test(`${route}, ${colorScheme}: no horizontal scrolling, no accessibility violations`, async (t) => {
      const { address } = await program.serve(t);
      const page = await open(t, BROWSER, `${address}#${route}?device=cpu`, { colorScheme });
      await READY[route](page);
      if (route === "train") await trainBriefly(t, page);
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
        await page.waitForTimeout(500);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}`);
        await page.screenshot({ path: join(PICTURES, `${route}-${width}-${colorScheme}.png`), fullPage: true });
      }
      await page.evaluate(await readFile(axe, "utf8"));
      const { violations } = await page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).slice(0, 3).join(" | ")}`);
      assert.deepEqual(found, []);
    });
  }
}

/** Trains until there are figures. */
async function trainBriefly(t, page) {
  const train = new TrainPage(page);
  await page.goto(link(page.url().split("#")[0], { ...TINY, interference: "true", epochs: "4", evaluate_every: "1", slow_start: "0.25" }));
  await train.chooseFiles(await images.write(await program.folder(t), 64, 20));
  await train.button("Start").click();
  await train.waitForState("finished");
  await page.locator(".figure svg").first().waitFor();
}

test("the first paint is measured", async (t) => {
  const { address } = await program.serve(t);
  const page = await open(t, BROWSER, address);
  await READY.train(page);
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  assert.ok(paint > 0);
  t.diagnostic(`first contentful paint on loopback after ${Math.round(paint)} ms`);
});
