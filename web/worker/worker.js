// The first message is the compiled module; all later ones are for the Rust code.
import init, { start } from "./slimclr_worker.js";

const waiting = [];
self.onmessage = async ({ data: module }) => {
  self.onmessage = ({ data }) => waiting.push(data);
  try {
    await init({ module_or_path: module });
    start(waiting);
  } catch (error) {
    postMessage(`fatal: ${error.message ?? error}`);
  }
};
