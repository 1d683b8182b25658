// The page for training, as a user operates it.

import { download, expect } from "./browser.mjs";
import { lines } from "./program.mjs";

/** Options of the smallest network, with a learning rate so low that the loss still changes in the last step. */
export const TINY = {
  // Comes first, because it sets the defaults of the others.
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

/** Returns the address of the page with these options. */
export function link(address, options) {
  return `${address}#train?${new URLSearchParams(options)}`;
}

export class TrainPage {
  constructor(page) {
    this.page = page;
    this.card = page.getByRole("article").first();
    this.alert = page.getByRole("alert");
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** Chooses the files to train on. */
  async chooseFiles(files) {
    await this.page.getByLabel("Files…").setInputFiles(files);
  }

  /** Waits for a state of the run: not started, training, paused, finished, failed. */
  async waitForState(state, timeout = 60_000) {
    await expect(() => this.card.locator(".state").textContent(), state, timeout);
  }

  /** Returns the number of steps taken. */
  async steps() {
    const facts = await this.card.locator(".facts").textContent();
    return Number(facts.match(/step (\d+) of/)[1]);
  }

  /** Waits until more than `steps` steps were taken. */
  async waitForStepAfter(steps, timeout = 60_000) {
    await this.page.waitForFunction(
      (steps) => {
        const facts = document.querySelector(".card .facts")?.textContent ?? "";
        return Number(facts.match(/step (\d+) of/)?.[1] ?? 0) > steps;
      },
      steps,
      { timeout },
    );
  }

  /** Returns the events so far, as the page saves them. */
  async events() {
    return lines((await download(this.page, this.button("Events"))).bytes.toString());
  }
}
