// Records a training in the page as its introduction; web/assets/README.md has the command.
//
// node tests/browser/record.mjs FILE OPTION=VALUE...

import { writeFile } from "node:fs/promises";

import { launch } from "./browser.mjs";
import * as program from "./program.mjs";
import { TrainPage, link } from "./train-page.mjs";

const [file, ...options] = process.argv.slice(2);
const cleanups = [];
const session = { after: (cleanup) => cleanups.push(cleanup) };
const browser = await launch();
cleanups.push(() => browser.close());
const { address } = await program.serve(session);
const page = await browser.newPage();
await page.addInitScript(keepReports);
await page.goto(link(address, Object.fromEntries(options.map((option) => option.split("=")))));
const train = new TrainPage(page);
await train.button("Start").click();
await train.waitForState("finished", 1_800_000);
const recorded = await page.evaluate(readReports);
for (const cleanup of cleanups) await cleanup();

const lines = recorded.filter(({ event }) => event !== "checkpoint").map((line) => JSON.stringify(line, shortened));
await writeFile(file, lines.map((line) => `${line}\n`).join(""));
console.log(`${lines.length} lines, ${lines.join("").length} bytes`);

/** In the page: keeps everything that its workers report. */
function keepReports() {
  globalThis.reports = [];
  globalThis.Worker = class extends Worker {
    constructor(...options) {
      super(...options);
      this.addEventListener("message", ({ data }) => Array.isArray(data) && globalThis.reports.push(data));
    }
  };
}

/** In the page: returns the run's events, and the pairs of views with their pictures as data URLs. */
function readReports() {
  const picture = (pixels, side, image) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    const context = canvas.getContext("2d");
    const { data } = context.getImageData(0, 0, side, side);
    const start = image * side * side;
    data.forEach((_, at) => (data[at] = at % 4 === 3 ? 255 : pixels[3 * (start + Math.floor(at / 4)) + (at % 4)]));
    context.putImageData(new ImageData(data, side), 0, 0);
    return canvas.toDataURL("image/webp", 0.8);
  };
  return globalThis.reports.flatMap(([json, ...attached]) => {
    const { event, pairs } = JSON.parse(json);
    if (event) return [event];
    if (!pairs) return [];
    const shown = pairs.pairs.is_found[0].map((_, image) => attached.map((pixels, view) => picture(pixels, pairs.sides[view], image)));
    return [{ pairs: pairs.pairs, pictures: shown }];
  });
}

/** Shortens numbers, and leaves out what the introduction does not draw: the directions of the last layers' gradients. */
function shortened(key, value) {
  if (key === "products" || key === "singular_values") return undefined;
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
