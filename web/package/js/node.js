// The entry for Node.js, which fetches no files.
import { readFile } from "node:fs/promises";

import { loader } from "./network.js";

export const load = loader(async (module, device) =>
  module.default({ module_or_path: await readFile(new URL(`./${device}_bg.wasm`, import.meta.url)) }),
);
