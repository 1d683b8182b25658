// The room for training, as somebody uses it.

import { download, expect } from "./browser.mjs";
import { lines } from "./program.mjs";

/** A network of the fewest layers that there are, at a rate so low that its losses differ from step to step to the end. */
export const TINY = {
  // The first, since it sets what the others are at first.
  method: "mocov2",
  widths: "1,0.5",
  multiplier: "0.25",
  batch: "8",
  queue: "64",
  dim: "32",
  knn: "5",
  learning_rate: "0.001",
  warmup: "0",
  interference: "false",
  device: "cpu",
};

/** The address of the room with these options. */
export function link(address, options) {
  return `${address}#train?${new URLSearchParams(options)}`;
}

/** The room of a page. */
export class TrainRoom {
  constructor(page) {
    this.page = page;
    this.card = page.getByRole("article").first();
    this.alert = page.getByRole("alert");
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** Chooses files to train on. */
  async take(files) {
    await this.page.getByLabel("Files…").setInputFiles(files);
  }

  /** Waits until the run is in a state: training, paused, finished, broken off, not begun. */
  async state(state, timeout = 60_000) {
    await expect(() => this.card.locator(".state").textContent(), state, timeout);
  }

  /** Steps taken. */
  async steps() {
    const facts = await this.card.locator(".facts").textContent();
    return Number(facts.match(/step (\d+) of/)[1]);
  }

  /** Waits until more than so many steps were taken. */
  async passes(steps, timeout = 60_000) {
    await this.page.waitForFunction(
      (steps) => {
        const facts = document.querySelector(".card .facts")?.textContent ?? "";
        return Number(facts.match(/step (\d+) of/)?.[1] ?? 0) > steps;
      },
      steps,
      { timeout },
    );
  }

  /** The events so far, as the page saves them. */
  async events() {
    return lines((await download(this.page, this.button("Events"))).bytes.toString());
  }
}
