// Trains what the lesson sets up, and keeps what it shows, as the learner's to compare; web/assets/README.md has the
// command.
//
// node tests/browser/expected.mjs FOLDER

import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { expect, launch } from "./browser.mjs";
import * as program from "./program.mjs";

const [folder] = process.argv.slice(2);
const cleanups = [];
const session = { after: (cleanup) => cleanups.push(cleanup) };
const browser = await launch();
cleanups.push(() => browser.close());
const { address } = await program.serve(session);
const page = await browser.newPage();
const requested = [];
page.on("request", (request) => request.url().includes("/lesson/expected/") && requested.push(basename(request.url())));
await page.goto(`${address}#lesson`);
const steps = await page.locator(".lesson nav li").count();
for (let step = 1; step <= steps; step += 1) {
  const before = requested.length;
  await page.locator(".lesson nav a").nth(step - 1).click();
  const article = page.locator(`#lesson-${step}`);
  await article.locator(".prose .task").waitFor();
  if ((await article.locator(".live").count()) === 0) continue;
  await expect(async () => requested.length > before, true);
  await article.getByRole("button", { name: "Start", exact: true }).click();
  const states = () => article.locator(".state").allTextContents();
  await expect(async () => (await states()).every((state) => state === "finished"), true, 1_800_000);
  // The figures are drawn a little later.
  await page.waitForTimeout(5_000);
  const answer = await article.locator(".beside > div .answer").textContent();
  const figures = await article.locator(".figure").evaluateAll((figures) =>
    figures.map((figure) => `<h3>${figure.querySelector("h2").textContent}</h3>\n${figure.querySelector(".drawn").outerHTML}\n`),
  );
  await writeFile(join(folder, requested.at(-1)), `<p class="answer">${answer}</p>\n${figures.join("")}`);
  console.log(`${requested.at(-1)}: ${answer}`);
}
for (const cleanup of cleanups) await cleanup();
